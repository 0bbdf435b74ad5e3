//! A context on a disk that cannot be written to: said, and the file is whole.

use worlds::fixtures;
use worlds::guest::{Finished, Guest};
use worlds::service::Service;

use crate::has_one_sentence;

/// In a mount namespace of its own, a small disk at `$1/disk` holds the context, something is done to the disk, the agent
/// runs, and what is on the disk then is copied to `$1/after`. The guest's root is `$1`, the agent's command line the rest.
fn on_a_disk(what_happens_to_it: &str) -> (Guest, Finished) {
    let service = Service::start();
    let pin = service.api().new_pin();
    for (key, value) in [("master_ip", "2001:db8:1234:5678:9abc:def0:1234:5678"), ("master_ready", "true")] {
        service.api().create_key(&pin, key, value);
    }
    let guest = Guest::new("slave", fixtures::slave(&pin, &service.url()));
    let script = format!(
        "root=$1; shift; mkdir $root/disk $root/after
         mount -t tmpfs -o size=64k none $root/disk
         cp $root/user-data $root/disk/
         {what_happens_to_it}
         status=0; \"$@\" || status=$?
         cp -r $root/disk/. $root/after/
         exit $status"
    );
    let root = guest.root().to_str().expect("temporary directories have plain names").to_owned();
    let namespace = ["unshare", "--mount", "--map-root-user", "sh", "-ec", &script, "sh", &root];
    let finished = guest.run_under(&namespace, &["contextualize", "/disk/user-data"]);
    (guest, finished)
}

#[track_caller]
fn leaves_it_whole(guest: &Guest, finished: &Finished, also_there: &[&str]) {
    has_one_sentence(finished);
    finished.expect(74).says("/disk/user-data");
    assert_eq!(guest.read("/after/user-data"), guest.read("/user-data"), "the file is not whole");
    let mut there = crate::files(&guest.path("/after"));
    there.retain(|name| !also_there.contains(&name.as_str()));
    assert_eq!(there, ["user-data"], "something was left behind");
}

#[test]
fn a_read_only_disk_is_said_to_be_one() {
    let (guest, finished) = on_a_disk("mount -o remount,bind,ro $root/disk");
    leaves_it_whole(&guest, &finished, &[]);
    finished.says("ead-only");
}

#[test]
fn a_full_disk_is_said_to_be_one() {
    let (guest, finished) = on_a_disk("cat /dev/zero >$root/disk/filler 2>/dev/null || true");
    leaves_it_whole(&guest, &finished, &["filler"]);
    finished.says("space");
}

#[test]
fn a_disk_in_order_gets_its_context() {
    let (guest, finished) = on_a_disk("true");
    finished.expect(0);
    let after = String::from_utf8(guest.read("/after/user-data")).expect("it is text");
    assert!(after.contains("my_master_ip=2001:db8:1234:5678:9abc:def0:1234:5678\n"), "{after}");
}
