//! Substitution in a file that `write_files` has made.
//!
//! The context decides what goes into which file, not what the file says today: another user may own it, and a
//! placeholder that this user writes into it must not get a value that the context gives to root alone. So:
//!
//! - Where only root can change the file, the placeholders that the entry names are replaced wherever they stand.
//! - Elsewhere only what cloud-init wrote is replaced: the entry's content as a whole, or its lines as they were. The file
//!   must belong to root or to the user that the entry names, and others may not read more of it than the entry allows.
//! - A file that is empty or was cut off by a power cut is written again, as long as the instance never had a success.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::write_files::{WrittenContent, WrittenFile};
use crate::files::{self, Edited};
use crate::root::Root;
use context::document::Document;
use context::placeholder::{self, Placeholder};
use protocol::error::{Error, Status};

/// What was done to a file.
#[derive(Debug, Default)]
pub(super) struct FileChanges {
    pub(super) replaced: BTreeSet<Placeholder>,
    /// The values are there, but the text around the placeholder is no longer the entry's.
    pub(super) left: BTreeSet<Placeholder>,
    pub(super) was_cut: bool,
}

impl WrittenFile {
    /// The placeholders in a file that are this entry's, before their values are known.
    pub(super) fn placeholders_in(
        &self,
        file: &files::FileContent,
        may_repair: bool,
    ) -> BTreeSet<Placeholder> {
        let names = self.names(file);
        if may_repair && self.is_cut(&file.bytes) {
            return names;
        }
        let there = names_in(&file.bytes);
        names.into_iter().filter(|name| there.contains(name)).collect()
    }

    /// Puts the values into the file at `path`, which is its path on this machine.
    ///
    /// # Errors
    /// `File` when it cannot be read or written, or is not as the context left it; `Context` when a value does not fit.
    pub(super) fn substitute(
        &self,
        root: &Root,
        path: &Path,
        values: &BTreeMap<String, String>,
        may_repair: bool,
    ) -> Result<FileChanges, Error> {
        let mut done = FileChanges::default();
        files::edit(root, path, |file| {
            done = FileChanges::default();
            let names = self.names(file);
            let values: BTreeMap<_, _> = names
                .iter()
                .filter_map(|name| Some((name.key(), values.get(&name.key())?.clone())))
                .collect();
            let has_value = |name: &Placeholder| values.contains_key(&name.key());
            if may_repair && self.is_cut(&file.bytes) {
                done.was_cut = true;
                done.replaced = names.iter().filter(|name| has_value(name)).cloned().collect();
                return self.whole(root, path, &values).map(Some);
            }
            let there = names_in(&file.bytes);
            if !names.iter().any(|name| has_value(name) && there.contains(name)) {
                return Ok(None);
            }
            let bytes = if file.only_root_writes {
                rendered(path, file.bytes.clone(), &values)?
            } else {
                self.refuse_foreign(root, path, file)?;
                self.replace_own_text(path, &file.bytes, &values)?
            };
            let still = names_in(&bytes);
            for name in names.into_iter().filter(|name| has_value(name) && there.contains(name)) {
                if still.contains(&name) {
                    done.left.insert(name)
                } else {
                    done.replaced.insert(name)
                };
            }
            Ok(Some(bytes.into()))
        })?;
        Ok(done)
    }

    /// Whether the values fit into the entry's content.
    ///
    /// # Errors
    /// Those of [`Document::substitute`].
    pub(super) fn try_values(&self, root: &Root, values: &BTreeMap<String, String>) -> Result<(), Error> {
        let path = root.path(&self.path);
        let content = match &self.content {
            WrittenContent::Known(content) => content.clone(),
            WrittenContent::Unknown => files::read(root, &path).map(|file| file.bytes).unwrap_or_default(),
        };
        rendered(&path, content, values).map(drop)
    }

    /// The placeholders that the context may mean in this file.
    fn names(&self, file: &files::FileContent) -> BTreeSet<Placeholder> {
        match &self.content {
            WrittenContent::Known(content) => names_in(content),
            WrittenContent::Unknown if file.only_root_writes => names_in(&file.bytes),
            WrittenContent::Unknown => BTreeSet::new(),
        }
    }

    /// Whether a file holds only the beginning of the entry's content, with nothing or zeros in the place of the rest.
    fn is_cut(&self, bytes: &[u8]) -> bool {
        let WrittenContent::Known(content) = &self.content else { return false };
        let zeros = bytes.iter().rev().take_while(|b| **b == 0).count();
        let kept = &bytes[..bytes.len() - zeros];
        !self.appends
            && bytes.len() <= content.len()
            && kept.len() < content.len()
            && content.starts_with(kept)
            && bytes != content
    }

    /// The file as the context says it, with the values.
    fn whole(&self, root: &Root, path: &Path, values: &BTreeMap<String, String>) -> Result<Edited, Error> {
        let WrittenContent::Known(content) = &self.content else { return Ok(Vec::new().into()) };
        let bytes = rendered(path, content.clone(), values)?;
        let names = self.owner.as_deref().unwrap_or("root:root");
        let (user, group) = names.split_once(':').unwrap_or((names, "root"));
        let ids = (id(root, "/etc/passwd", user), id(root, "/etc/group", group));
        let (Some(uid), Some(gid)) = ids else {
            return Err(Error::new(
                Status::File,
                format!(
                    "{} was cut off and cannot be written again: there is no user and group {names}",
                    path.display()
                ),
                "write the file by hand, or run `cloud-init clean --reboot`",
            ));
        };
        Ok(Edited { bytes, owner_and_mode: Some(((uid, gid), self.mode)) })
    }

    /// A file in a directory that another user can change may have been put there by him.
    fn refuse_foreign(&self, root: &Root, path: &Path, file: &files::FileContent) -> Result<(), Error> {
        let next =
            "give the file the owner and the permissions that its write_files entry has, or write it again";
        let user = self.user();
        let is_roots = Some(file.uid) == id(root, "/etc/passwd", "root");
        // A user of some directory service has a name that the agent cannot look up, and no local user's number.
        let is_the_users = match id(root, "/etc/passwd", user) {
            Some(uid) => uid == file.uid,
            None => !is_local(root, file.uid),
        };
        if !is_roots && !is_the_users {
            let what = format!(
                "{} belongs to the user {}, and the context gives it to {user}",
                path.display(),
                file.uid
            );
            return Err(Error::new(Status::File, what, next));
        }
        let readable = file.mode & 0o044 & !self.mode;
        if is_roots && readable != 0 {
            let what = format!("{} can be read by more users than the context says", path.display());
            return Err(Error::new(Status::File, what, next));
        }
        Ok(())
    }

    /// Replaces the entry's content as a whole where it still stands, else those of its lines that still do.
    fn replace_own_text(
        &self,
        path: &Path,
        bytes: &[u8],
        values: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, Error> {
        let WrittenContent::Known(content) = &self.content else { return Ok(bytes.to_vec()) };
        let with_values = rendered(path, content.clone(), values)?;
        if let Some(at) = find(bytes, content) {
            return Ok([&bytes[..at], &with_values, &bytes[at + content.len()..]].concat());
        }
        let (old, new): (Vec<_>, Vec<_>) = (lines(content).collect(), lines(&with_values).collect());
        if old.len() != new.len() {
            return Ok(bytes.to_vec());
        }
        // As often as the entry has a line, so often it is replaced.
        let mut own = BTreeMap::<&[u8], Vec<&[u8]>>::new();
        for (old, new) in old.into_iter().zip(new).rev().filter(|(old, new)| old != new) {
            own.entry(old).or_default().push(new);
        }
        let replaced = lines(bytes).map(|line| own.get_mut(line).and_then(Vec::pop).unwrap_or(line));
        Ok(replaced.collect::<Vec<_>>().join(&b'\n'))
    }
}

fn rendered(path: &Path, bytes: Vec<u8>, values: &BTreeMap<String, String>) -> Result<Vec<u8>, Error> {
    Document::parse(&path.display().to_string(), bytes)?
        .substitute(values)
        .map(|substituted| substituted.bytes)
}

fn names_in(bytes: &[u8]) -> BTreeSet<Placeholder> {
    placeholder::find(bytes).map(|found| found.placeholder).collect()
}

fn lines(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n')
}

/// Where the text occurs first. Takes time linear in the lengths, as the file may have been made to take more: that is what
/// `str` promises and slices do not, so what is not UTF-8 is only found at the start.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return None;
    }
    match (std::str::from_utf8(bytes), std::str::from_utf8(wanted)) {
        (Ok(text), Ok(wanted)) => text.find(wanted),
        _ => bytes.starts_with(wanted).then_some(0),
    }
}

/// The number of a user or a group of the guest. Only its own files are asked: a static program has no other directory
/// service.
fn id(root: &Root, file: &str, name: &str) -> Option<u32> {
    if name == "root" {
        // Where the agent does not run as root, what is root's elsewhere is its own.
        return Some(match file {
            "/etc/group" => rustix::process::getegid().as_raw(),
            _ => rustix::process::geteuid().as_raw(),
        });
    }
    let database = files::read(root, &root.path(file)).ok()?;
    let text = String::from_utf8_lossy(&database.bytes);
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// Whether the guest's own file of users has this number.
fn is_local(root: &Root, uid: u32) -> bool {
    let Ok(database) = files::read(root, &root.path("/etc/passwd")) else { return true };
    let text = String::from_utf8_lossy(&database.bytes);
    text.lines().any(|line| line.split(':').nth(2).and_then(|field| field.parse().ok()) == Some(uid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const IP: &str = "###MASTER_IP_PLACEHOLDER###";
    const TOKEN: &str = "###TOKEN_PLACEHOLDER###";

    fn entry(content: &str) -> WrittenFile {
        WrittenFile {
            path: PathBuf::from("/etc/x"),
            content: WrittenContent::Known(content.as_bytes().to_vec()),
            appends: false,
            owner: None,
            mode: 0o644,
            is_deferred: false,
        }
    }

    fn values() -> BTreeMap<String, String> {
        [("master_ip", "192.0.2.1"), ("token", "secret")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    /// What becomes of a file; `open` makes it one that another user can put another in the place of.
    #[track_caller]
    fn check(entry: &WrittenFile, is_open: bool, before: &str, after: &str) -> FileChanges {
        use std::os::unix::fs::PermissionsExt as _;
        let guest = tempfile::tempdir().unwrap();
        let path = guest.path().join("x");
        std::fs::write(&path, before).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mode = if is_open { 0o777 } else { 0o755 };
        let directory = guest.path().join("directory");
        std::fs::create_dir(&directory).unwrap();
        std::fs::rename(&path, directory.join("x")).unwrap();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(mode)).unwrap();
        let root = Root::from(guest.path());
        let done = entry.substitute(&root, &directory.join("x"), &values(), true).unwrap();
        assert_eq!(std::fs::read_to_string(directory.join("x")).unwrap(), after);
        done
    }

    #[test]
    fn replaces_what_the_entry_has_and_keeps_the_rest() {
        let own = entry(&format!("ip={IP}\nport=1\n"));
        for is_open in [false, true] {
            let done = check(&own, is_open, &format!("ip={IP}\nport=1\n"), "ip=192.0.2.1\nport=1\n");
            assert_eq!((done.replaced.len(), done.left.len(), done.was_cut), (1, 0, false));
            // Lines around it, and within it, that came later.
            check(&own, is_open, &format!("a\nip={IP}\nport=1\nb"), "a\nip=192.0.2.1\nport=1\nb");
            check(&own, is_open, &format!("ip={IP}\nnew\nport=2\n"), "ip=192.0.2.1\nnew\nport=2\n");
            check(&own, is_open, "ip=192.0.2.7\nport=1\n", "ip=192.0.2.7\nport=1\n");
        }
    }

    #[test]
    fn replaces_nothing_that_another_user_may_have_written() {
        let own = entry(&format!("ip={IP}\n"));
        // A placeholder that the entry does not have stays in any file.
        for is_open in [false, true] {
            let before = format!("ip={IP}\nmine={TOKEN}\n");
            check(&own, is_open, &before, &format!("ip=192.0.2.1\nmine={TOKEN}\n"));
        }
        // One that it has, elsewhere or more often than it has it, only where root alone writes.
        let before = format!("ip={IP}\nip={IP}\nother {IP}\n");
        let done = check(&own, true, &before, &format!("ip=192.0.2.1\nip={IP}\nother {IP}\n"));
        assert_eq!((done.replaced.len(), done.left.len()), (0, 1));
        check(&own, false, &before, "ip=192.0.2.1\nip=192.0.2.1\nother 192.0.2.1\n");
    }

    #[test]
    fn writes_a_file_again_that_was_cut() {
        let own = entry(&format!("first\nip={IP}\nlast\n"));
        let whole = "first\nip=192.0.2.1\nlast\n";
        for before in ["", "fir", "first\nip=###MAST", "first\0\0\0", "\0\0\0\0"] {
            assert!(check(&own, false, before, whole).was_cut, "{before:?}");
        }
        // What is longer, or something else, was not cut.
        for before in ["second\n", "first\nip=192.0.2.9\nlast\n", &"\0".repeat(100)] {
            assert!(!check(&own, false, before, before).was_cut, "{before:?}");
        }
        check(&WrittenFile { appends: true, ..own }, false, "", "");
    }

    #[test]
    fn takes_what_was_fetched_only_where_root_alone_writes() {
        let own = WrittenFile { content: WrittenContent::Unknown, ..entry("") };
        let before = format!("ip={IP}\n");
        check(&own, false, &before, "ip=192.0.2.1\n");
        check(&own, true, &before, &before);
    }

    #[test]
    fn refuses_a_file_that_more_users_can_read() {
        let guest = tempfile::tempdir().unwrap();
        let root = Root::from(guest.path());
        let own = WrittenFile { mode: 0o600, ..entry(&format!("token={TOKEN}\n")) };
        let file = |uid: u32, mode: u32| files::FileContent {
            bytes: Vec::new(),
            uid,
            mode,
            only_root_writes: false,
        };
        let me = rustix::process::geteuid().as_raw();
        let refuses = |own: &WrittenFile, uid: u32, mode: u32| {
            own.refuse_foreign(&root, Path::new("/x"), &file(uid, mode)).is_err()
        };
        assert!(!refuses(&own, me, 0o600));
        assert!(refuses(&own, me, 0o640));
        assert!(refuses(&own, me + 1, 0o600));
        std::fs::create_dir(guest.path().join("etc")).unwrap();
        std::fs::write(guest.path().join("etc/passwd"), format!("alice:x:{}:5::/:/bin/sh\n", me + 1))
            .unwrap();
        let hers = WrittenFile { owner: Some("alice:alice".to_owned()), ..own };
        assert!(!refuses(&hers, me + 1, 0o644));
        assert!(refuses(&hers, me + 2, 0o600));
        let his = WrittenFile { owner: Some("bob:bob".to_owned()), ..hers };
        assert!(refuses(&his, me + 1, 0o600));
        assert!(!refuses(&his, me + 2, 0o600));
    }
}
