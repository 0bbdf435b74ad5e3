//! What becomes of a file, with real file systems, owners and modes.

use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use protocol::error::Status;
use rustix::fs::XattrFlags;
use std::os::unix::fs::{chown, symlink};

/// Puts this content in the place of a file's own.
fn replace(path: &Path, bytes: &[u8]) -> Result<bool, Error> {
    edit(&Root::default(), path, |_| Ok(Some(bytes.to_vec().into())))
}

fn make(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    create(&Root::default(), path, bytes, mode)
}

/// A directory with the file `context` in it.
struct GuestDirectory(tempfile::TempDir);

impl GuestDirectory {
    fn new() -> Self {
        let guest = Self(tempfile::tempdir().unwrap());
        guest.fill();
        guest
    }

    fn fill(&self) {
        fs::write(self.context(), "old").unwrap();
    }

    fn context(&self) -> PathBuf {
        self.0.path().join("context")
    }

    fn inode(&self) -> u64 {
        self.context().metadata().unwrap().ino()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn refuses(&self, bytes: &[u8], expected: Errno) {
        let error = replace(&self.context(), bytes).unwrap_err();
        assert_eq!(error.io().map(errno), Some(expected), "{error}");
        assert_eq!(error.status(), Status::File);
        assert_eq!(fs::read(self.context()).unwrap(), b"old");
        assert_eq!(self.names(), ["context"]);
    }
}

impl Drop for GuestDirectory {
    fn drop(&mut self) {
        // What a test mounted here would keep the directory from being removed; mostly there is nothing.
        for path in [&self.context(), self.0.path()] {
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs with mounts of its own, which end with it. Only root may; as another user the test says what it leaves out.
fn with_mounts(test: impl FnOnce() + Send + 'static) {
    if !is_root() {
        eprintln!("left out, since it needs root: a file system of the test's own");
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        test();
    });
    thread.join().unwrap();
}

fn mount_small(guest: &GuestDirectory, flags: MsFlags) {
    mount(Some("tmpfs"), guest.0.path(), Some("tmpfs"), flags, Some("size=64k,mode=755")).unwrap();
}

fn bind(from: &Path, to: &Path) {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

#[test]
fn replaces_the_content_and_keeps_mode_and_owner() {
    let guest = GuestDirectory::new();
    for mode in [0o600, 0o755, 0o640] {
        if is_root() {
            chown(guest.context(), Some(1234), Some(4321)).unwrap();
        }
        fs::set_permissions(guest.context(), Permissions::from_mode(mode)).unwrap();
        let (before, content) = (guest.context().metadata().unwrap(), format!("new {mode}"));
        replace(&guest.context(), content.as_bytes()).unwrap();
        let after = guest.context().metadata().unwrap();
        assert_eq!(fs::read_to_string(guest.context()).unwrap(), content);
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
        assert_eq!(guest.names(), ["context"]);
    }
}

#[test]
fn leaves_a_file_alone_that_has_the_content_already() {
    let guest = GuestDirectory::new();
    let inode = guest.inode();
    replace(&guest.context(), b"old").unwrap();
    assert_eq!(guest.inode(), inode);
    replace(&guest.context(), b"new").unwrap();
    assert_ne!(guest.inode(), inode);
}

#[test]
fn follows_a_link_and_keeps_it() {
    let guest = GuestDirectory::new();
    let link = guest.0.path().join("link");
    symlink("context", &link).unwrap();
    replace(&link, b"new").unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read(guest.context()).unwrap(), b"new");
    make(&link, b"newer", 0o600).unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read(guest.context()).unwrap(), b"newer");
}

#[test]
fn refuses_what_is_no_regular_file() {
    let guest = GuestDirectory::new();
    let missing = guest.0.path().join("missing");
    for path in [guest.0.path(), Path::new("/dev/null"), &missing] {
        assert_eq!(replace(path, b"new").unwrap_err().status(), Status::File, "{}", path.display());
    }
    assert!(make(Path::new("/dev/null"), b"new", 0o600).is_err());
    assert_eq!(guest.names(), ["context"]);
}

#[test]
fn creates_a_file_with_its_mode_and_directories() {
    let guest = GuestDirectory::new();
    let path = guest.0.path().join("a/b/cache");
    for (mode, content) in [(0o600, "one"), (0o644, "two")] {
        make(&path, content.as_bytes(), mode).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, mode);
    }
}

#[test]
fn leaves_the_file_whole_where_the_directory_may_not_be_written() {
    if is_root() {
        eprintln!("left out, since root may write anywhere: a directory without permission");
        return;
    }
    let guest = GuestDirectory::new();
    fs::set_permissions(guest.0.path(), Permissions::from_mode(0o555)).unwrap();
    guest.refuses(b"new", Errno::ACCESS);
    fs::set_permissions(guest.0.path(), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn leaves_the_file_whole_on_a_read_only_file_system() {
    with_mounts(|| {
        let guest = GuestDirectory::new();
        mount_small(&guest, MsFlags::empty());
        guest.fill();
        mount_small(&guest, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY);
        guest.refuses(b"new", Errno::ROFS);
    });
}

#[test]
fn leaves_the_file_whole_on_a_full_disk() {
    with_mounts(|| {
        let guest = GuestDirectory::new();
        mount_small(&guest, MsFlags::empty());
        guest.fill();
        guest.refuses(&[b'x'; 65_537], Errno::NOSPC);
        replace(&guest.context(), b"what fits").unwrap();
    });
}

#[test]
fn rewrites_a_mounted_file_in_place() {
    with_mounts(|| {
        let guest = GuestDirectory::new();
        bind(&guest.context(), &guest.context());
        let inode = guest.inode();
        for content in ["longer than before", "short"] {
            replace(&guest.context(), content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(guest.context()).unwrap(), content);
        }
        assert_eq!((guest.inode(), guest.names()), (inode, vec!["context".to_owned()]));
    });
}

#[test]
fn leaves_a_mounted_file_whole_on_a_full_disk() {
    with_mounts(|| {
        let (guest, small) = (GuestDirectory::new(), GuestDirectory::new());
        mount_small(&small, MsFlags::empty());
        small.fill();
        bind(&small.context(), &guest.context());
        guest.refuses(&[b'x'; 65_537], Errno::NOSPC);
        replace(&guest.context(), b"what fits").unwrap();
        assert_eq!(fs::read(small.context()).unwrap(), b"what fits");
    });
}

#[test]
fn rewrites_a_mounted_file_in_a_read_only_directory() {
    with_mounts(|| {
        let (guest, elsewhere) = (GuestDirectory::new(), GuestDirectory::new());
        mount_small(&guest, MsFlags::empty());
        guest.fill();
        bind(&elsewhere.context(), &guest.context());
        mount_small(&guest, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY);
        replace(&guest.context(), b"new").unwrap();
        assert_eq!(fs::read(elsewhere.context()).unwrap(), b"new");
    });
}

/// The user of the tests' attacks: `nobody`.
const OTHER: u32 = 65_534;

/// Runs as root, with a directory below a guest's root that belongs to another user. Elsewhere it says what is left out.
fn with_other_users_directory(test: impl FnOnce(&Root, &Path, &Path)) {
    if !is_root() {
        eprintln!("left out, since it needs root: a directory of another user");
        return;
    }
    let guest = tempfile::tempdir().unwrap();
    let home = guest.path().join("home/other");
    fs::create_dir_all(&home).unwrap();
    chown(&home, Some(OTHER), Some(OTHER)).unwrap();
    let secret = guest.path().join("secret");
    fs::write(&secret, "root's").unwrap();
    test(&Root::from(guest.path()), &home, &secret);
    assert_eq!(fs::read(&secret).unwrap(), b"root's");
}

#[track_caller]
fn refuses(root: &Root, path: &Path, words: &str) {
    let refused = edit(root, path, |_| Ok(Some(b"new".to_vec().into()))).unwrap_err();
    assert_eq!(refused.status(), Status::File);
    assert!(refused.to_string().contains(words), "{refused}");
    assert!(create(root, path, b"new", 0o600).is_err());
    assert!(read(root, path).is_err());
}

#[test]
fn follows_no_link_that_another_user_may_have_made() {
    with_other_users_directory(|root, home, secret| {
        symlink(secret, home.join("file")).unwrap();
        symlink("/secret", home.join("absolute")).unwrap();
        symlink("../../secret", home.join("relative")).unwrap();
        for name in ["file", "absolute", "relative"] {
            refuses(root, &home.join(name), "symbolic link");
        }
        symlink("/", home.join("directory")).unwrap();
        refuses(root, &home.join("directory/secret"), "symbolic link");
        // Neither below a directory of root's that the user can swap.
        let below = home.join("below");
        fs::create_dir(&below).unwrap();
        symlink("/secret", below.join("link")).unwrap();
        refuses(root, &below.join("link"), "symbolic link");
        // Nor where every user may write, though root's entries stay root's there.
        let tmp = home.parent().unwrap().join("tmp");
        fs::create_dir(&tmp).unwrap();
        fs::set_permissions(&tmp, Permissions::from_mode(0o1777)).unwrap();
        symlink("/secret", tmp.join("link")).unwrap();
        refuses(root, &tmp.join("link"), "symbolic link");
        fs::set_permissions(&tmp, Permissions::from_mode(0o777)).unwrap();
        refuses(root, &tmp.join("link"), "symbolic link");
    });
}

#[test]
fn acts_on_no_hard_link_pipe_or_directory_of_another_user() {
    with_other_users_directory(|root, home, secret| {
        fs::hard_link(secret, home.join("hard")).unwrap();
        refuses(root, &home.join("hard"), "hard link");
        nix::unistd::mkfifo(&home.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        refuses(root, &home.join("pipe"), "not a regular file");
        fs::create_dir(home.join("directory")).unwrap();
        refuses(root, &home.join("directory"), "not a regular file");
    });
}

#[test]
fn enters_no_file_system_that_another_user_may_have_mounted() {
    with_mounts(|| {
        with_other_users_directory(|root, home, _| {
            let mounted = home.join("mounted");
            fs::create_dir(&mounted).unwrap();
            mount(Some("tmpfs"), &mounted, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
            fs::write(mounted.join("file"), "content").unwrap();
            refuses(root, &mounted.join("file"), "a file system is mounted");
            // What root has mounted where root alone writes is entered.
            fs::create_dir_all(home.join("../mounted")).unwrap();
            bind(&mounted, &home.join("../mounted"));
            assert_eq!(read(root, &home.parent().unwrap().join("mounted/file")).unwrap().bytes, b"content");
            umount2(&home.join("../mounted"), MntFlags::MNT_DETACH).unwrap();
            umount2(&mounted, MntFlags::MNT_DETACH).unwrap();
        });
    });
}

#[test]
fn writes_in_another_users_directory_and_says_whose_it_is() {
    with_other_users_directory(|root, home, _| {
        let path = home.join("file");
        fs::write(&path, "old").unwrap();
        chown(&path, Some(OTHER), Some(OTHER)).unwrap();
        let content = read(root, &path).unwrap();
        assert_eq!((content.uid, content.only_root_writes), (OTHER, false));
        assert!(edit(root, &path, |_| Ok(Some(b"new".to_vec().into()))).unwrap());
        let found = path.metadata().unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), found.uid()), (&b"new"[..], OTHER));
        // A file of root's that the user can replace by another.
        chown(&path, Some(0), Some(0)).unwrap();
        assert!(!read(root, &path).unwrap().only_root_writes);
    });
}

#[test]
fn takes_links_of_root_below_the_root() {
    let guest = tempfile::tempdir().unwrap();
    let root = Root::from(guest.path());
    fs::create_dir_all(guest.path().join("run/app")).unwrap();
    fs::create_dir_all(guest.path().join("var")).unwrap();
    symlink("/run", guest.path().join("var/run")).unwrap();
    symlink("../../../../etc", guest.path().join("var/up")).unwrap();
    symlink("loop", guest.path().join("loop")).unwrap();
    make_below(&root, guest.path(), "var/run/app/x", "run/app/x");
    // A target that climbs ends at the guest's root, not at the machine's.
    make_below(&root, guest.path(), "var/up/x", "etc/x");
    assert!(create(&root, &guest.path().join("loop/x"), b"x", 0o600).is_err());
    assert!(create(&root, &guest.path().join("loop"), b"x", 0o600).is_err());
}

#[track_caller]
fn make_below(root: &Root, guest: &Path, path: &str, lands_at: &str) {
    create(root, &guest.join(path), b"content", 0o600).unwrap();
    assert_eq!(fs::read(guest.join(lands_at)).unwrap(), b"content");
    assert_eq!(read(root, &guest.join(path)).unwrap().bytes, b"content");
}

#[test]
fn keeps_what_was_written_while_it_was_edited() {
    let guest = GuestDirectory::new();
    let mut seen = Vec::new();
    let edited = edit(&Root::default(), &guest.context(), |content| {
        seen.push(String::from_utf8(content.bytes.clone()).unwrap());
        if seen.len() == 1 {
            fs::write(guest.context(), "older and newer").unwrap();
        }
        Ok(Some([&content.bytes[..], b", edited"].concat().into()))
    });
    assert!(edited.unwrap());
    assert_eq!(seen, ["old", "older and newer"]);
    assert_eq!(fs::read(guest.context()).unwrap(), b"older and newer, edited");
    assert_eq!(guest.names(), ["context"]);
}

#[test]
fn gives_up_on_a_file_that_changes_all_the_time() {
    let guest = GuestDirectory::new();
    let mut count = 0;
    let edited = edit(&Root::default(), &guest.context(), |_| {
        count += 1;
        fs::write(guest.context(), "x".repeat(count)).unwrap();
        Ok(Some(b"edited".to_vec().into()))
    });
    assert!(edited.unwrap_err().to_string().contains("all the time"));
    assert_eq!(fs::read(guest.context()).unwrap(), b"x".repeat(ATTEMPTS));
    assert_eq!(guest.names(), ["context"]);
}

#[test]
fn carries_attributes_and_access_control_lists_over() {
    let guest = GuestDirectory::new();
    fs::set_permissions(guest.context(), Permissions::from_mode(0o640)).unwrap();
    let attribute = rustix::fs::setxattr(guest.context(), "user.note", b"kept", XattrFlags::empty());
    if attribute == Err(Errno::OPNOTSUPP) {
        eprintln!("left out, since this file system has none: extended attributes");
        return;
    }
    attribute.unwrap();
    // acl(5), version 2: user::rw-, user:65534:---, group::r--, mask::r--, other::---
    let list: Vec<u8> = [
        &2_u32.to_le_bytes()[..],
        &entry(0x01, 6, u32::MAX),
        &entry(0x02, 0, OTHER),
        &entry(0x04, 4, u32::MAX),
        &entry(0x10, 4, u32::MAX),
        &entry(0x20, 0, u32::MAX),
    ]
    .concat();
    rustix::fs::setxattr(guest.context(), "system.posix_acl_access", &list, XattrFlags::empty()).unwrap();
    assert!(replace(&guest.context(), b"new").unwrap());
    let value = |name: &str| {
        let mut value = [0; 256];
        rustix::fs::getxattr(guest.context(), name, &mut value[..]).map(|length| value[..length].to_vec())
    };
    assert_eq!(value("user.note").unwrap(), b"kept");
    assert_eq!(value("system.posix_acl_access").unwrap(), list);
    assert_eq!(guest.context().metadata().unwrap().mode() & 0o7777, 0o640);
    // One that the directory would give a new file is not there either when the old one had none.
    rustix::fs::removexattr(guest.context(), "system.posix_acl_access").unwrap();
    rustix::fs::setxattr(guest.0.path(), "system.posix_acl_default", &list, XattrFlags::empty()).unwrap();
    assert!(replace(&guest.context(), b"newer").unwrap());
    assert_eq!(value("system.posix_acl_access"), Err(Errno::NODATA));
}

fn entry(tag: u16, permissions: u16, id: u32) -> [u8; 8] {
    let mut entry = [0; 8];
    entry[..2].copy_from_slice(&tag.to_le_bytes());
    entry[2..4].copy_from_slice(&permissions.to_le_bytes());
    entry[4..].copy_from_slice(&id.to_le_bytes());
    entry
}

#[test]
fn removes_what_an_earlier_run_left_and_nothing_else() {
    let guest = GuestDirectory::new();
    let dir = guest.0.path();
    fs::create_dir(dir.join(".cernvm-cluster-aaaaaa")).unwrap();
    fs::set_permissions(dir.join(".cernvm-cluster-aaaaaa"), Permissions::from_mode(0o700)).unwrap();
    fs::write(dir.join(".cernvm-cluster-aaaaaa/new"), "half").unwrap();
    fs::write(dir.join(".cernvm-cluster-bbbbbb"), "half, of an earlier version").unwrap();
    // In use: another run holds its lock.
    fs::create_dir(dir.join(".cernvm-cluster-cccccc")).unwrap();
    fs::set_permissions(dir.join(".cernvm-cluster-cccccc"), Permissions::from_mode(0o700)).unwrap();
    let used = File::open(dir.join(".cernvm-cluster-cccccc")).unwrap();
    rustix::fs::flock(&used, rustix::fs::FlockOperation::LockExclusive).unwrap();
    remove_leftovers(&Root::default(), [guest.context().as_path()]);
    let mut names = guest.names();
    names.sort();
    assert_eq!(names, [".cernvm-cluster-cccccc", "context"]);
    drop(used);
    remove_leftovers(&Root::default(), [guest.context().as_path()]);
    assert_eq!(guest.names(), ["context"]);
}

#[test]
fn finds_bytes_in_a_file_of_any_length() {
    let guest = GuestDirectory::new();
    let mut content = vec![b'x'; MAX_FILE_BYTES + 65_530];
    content.extend_from_slice(b"_PLACEHOLDER###");
    fs::write(guest.context(), &content).unwrap();
    assert!(read(&Root::default(), &guest.context()).unwrap_err().to_string().contains("larger than 16 MiB"));
    let contains = |wanted: &[u8]| contains(&Root::default(), &guest.context(), wanted).unwrap();
    assert!(contains(b"_PLACEHOLDER###"));
    assert!(!contains(b"_PLACEHOLDER####"));
}
