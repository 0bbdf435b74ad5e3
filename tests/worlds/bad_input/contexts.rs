//! User-data that is too much, or no text at all: a clear outcome, no panic, bounded memory.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use worlds::fixtures;
use worlds::guest::{Guest, USER_DATA};
use worlds::mock_server::{MockServer, Reply};

use crate::{PIN, fails};

/// Runs the agent with as much address space as a small guest can spare.
const SMALL: &str = "ulimit -v 262144";

#[track_caller]
fn ends_in_bounds(content: &[u8], statuses: &[i32]) {
    let guest = Guest::new("guest", content);
    let finished =
        guest.run_under(&["sh", "-c", &format!("{SMALL} && exec \"$@\""), "sh"], &["contextualize"]);
    assert!(statuses.contains(&finished.status), "{}: {}", finished.status, finished.stderr);
    assert!(!finished.stderr.is_empty() && !finished.stderr.contains("panicked"), "{}", finished.stderr);
    assert!(guest.read(USER_DATA) == content, "the file has changed");
}

#[test]
fn a_bomb_in_gzip_does_not_go_off() {
    let mut member = GzEncoder::new(Vec::new(), Compression::default());
    member.write_all(&vec![b'\n'; 16 << 20]).expect("memory takes every byte");
    let member = member.finish().expect("memory takes every byte");
    // A gigabyte: what gunzip makes of joined files is joined too.
    ends_in_bounds(&member.repeat(64), &[65]);
}

#[test]
fn ten_megabytes_and_binary_rubbish_have_an_outcome() {
    let mut random = fastrand::Rng::with_seed(7);
    let rubbish: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(1 << 20).collect();
    ends_in_bounds(&rubbish, &[0, 65]);
    let lines = "one line of many\n".repeat(10 << 20 >> 4);
    ends_in_bounds(lines.as_bytes(), &[0, 65]);
    let one_line = vec![b'#'; 10 << 20];
    ends_in_bounds(&one_line, &[0, 65]);
    let placeholders = "###MASTER_IP_PLACEHOLDER###".repeat(100_000);
    ends_in_bounds(placeholders.as_bytes(), &[0, 65]);
}

#[test]
fn a_section_that_never_ends_goes_to_the_end_of_the_file_as_with_the_original_agent() {
    let service = MockServer::start(|_, _| Reply::status(500));
    let context = fixtures::slave(PIN, &service.url()).replace("[ucernvm-end]", "cvm_cluster_timeout=2\n");
    let guest = Guest::new("slave", context);
    guest.run(&["contextualize"]).expect(69).says("[ucernvm-begin] has no [ucernvm-end]");
    assert!(service.connections() > 0, "the section was not read");
}

#[test]
fn a_setting_that_is_not_understood_ends_the_run_before_the_pin_goes_anywhere() {
    let service = MockServer::start(|_, _| Reply::status(500));
    let with = |from: &str, to: &str| {
        let context = fixtures::slave(PIN, &service.url()).replace(from, to);
        Guest::new("slave", context)
    };
    fails(&with("cvm_cluster_pin=", "cvm_cluster_pim="), 65, &["\"cvm_cluster_pim\"", "cvm_cluster_pin="]);
    fails(&with("cvm_service_url=", "cvm_service_url: "), 65, &["the pin would go to the default service"]);
    fails(&with("cvm_service_url=", "cvm_sevice_url="), 65, &["write cvm_service_url="]);
    fails(&with("[ucernvm-end]", "cvm_cluster_master=y\n[ucernvm-end]"), 65, &["neither yes nor no"]);
    fails(&with("[ucernvm-begin]", "[ucernvm_begin]"), 65, &["is not the line [ucernvm-begin]"]);
    assert_eq!(service.connections(), 0);
}
