//! Lines in a file of the machine that belong to the agent: between two marker lines, replaced as a whole.

use std::path::Path;

use crate::files;
use crate::root::Root;
use protocol::error::{Error, Status};

const BEGIN: &str = "# BEGIN cernvm-cluster nodes (written by cernvm-cluster-agent)";
const END: &str = "# END cernvm-cluster nodes";
/// Permissions of a file that was not there.
const MODE: u32 = 0o644;

/// Puts lines into a file in the place of those that were put there before, or at its end; whether it has changed. Every
/// other line stays as it is.
///
/// # Errors
/// 74 when it cannot be read or written, or has the one marker line without the other; then it is as it was.
pub fn write(root: &Root, path: &Path, lines: &str) -> Result<bool, Error> {
    if !path.try_exists().map_err(|error| Error::cannot_read(path, error))? {
        if lines.is_empty() {
            return Ok(false);
        }
        return files::create(root, path, block(lines).as_bytes(), MODE).map(|()| true);
    }
    files::edit(root, path, |content| {
        let bytes = with_block(&content.bytes, lines).ok_or_else(|| {
            let what = format!("{}: of the lines '{BEGIN}' and '{END}' one stands alone", path.display());
            Error::new(Status::File, what, "remove what is left of the block, and run this again")
        })?;
        Ok(Some(bytes.into()))
    })
}

fn block(lines: &str) -> String {
    format!("{BEGIN}\n{lines}{END}\n")
}

/// The content with the block; without lines there is none. `None`: it is not clear where the block is.
fn with_block(content: &[u8], lines: &str) -> Option<Vec<u8>> {
    let is = |line: &[u8], marker: &str| line.trim_ascii_end() == marker.as_bytes();
    let all: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
    let places = |marker| all.iter().enumerate().filter(move |(_, line)| is(line, marker)).map(|(at, _)| at);
    let (begins, ends): (Vec<usize>, Vec<usize>) = (places(BEGIN).collect(), places(END).collect());
    let new = if lines.is_empty() { Vec::new() } else { block(lines).into_bytes() };
    match (&begins[..], &ends[..]) {
        ([], []) => {
            let mut text = content.to_vec();
            if !new.is_empty() && text.last().is_some_and(|last| *last != b'\n') {
                text.push(b'\n');
            }
            text.extend(new);
            Some(text)
        }
        ([begin], [end]) if begin < end => {
            Some([all[..*begin].concat(), new, all[end + 1..].concat()].concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_its_own_lines_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (root, path) = (Root::from(dir.path()), dir.path().join("hosts"));
        let read = || std::fs::read_to_string(&path).unwrap();
        assert!(!write(&root, &path, "").unwrap() && !path.exists());
        std::fs::write(&path, "127.0.0.1 localhost").unwrap();
        assert!(write(&root, &path, "10.0.0.1 a\n").unwrap());
        assert_eq!(read(), format!("127.0.0.1 localhost\n{BEGIN}\n10.0.0.1 a\n{END}\n"));
        assert!(!write(&root, &path, "10.0.0.1 a\n").unwrap());
        std::fs::write(&path, read() + "10.9.9.9 mine\r\n").unwrap();
        assert!(write(&root, &path, "10.0.0.1 a\n10.0.0.2 b\n").unwrap());
        assert!(write(&root, &path, "10.0.0.2 b\n").unwrap());
        assert_eq!(read(), format!("127.0.0.1 localhost\n{BEGIN}\n10.0.0.2 b\n{END}\n10.9.9.9 mine\r\n"));
        assert!(write(&root, &path, "").unwrap());
        assert_eq!(read(), "127.0.0.1 localhost\n10.9.9.9 mine\r\n");
    }

    #[test]
    fn makes_a_file_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/ssh/ssh_known_hosts");
        assert!(write(&Root::from(dir.path()), &path, "a ssh-rsa AAAA\n").unwrap());
        assert!(std::fs::read_to_string(path).unwrap().ends_with(&format!("a ssh-rsa AAAA\n{END}\n")));
    }

    #[test]
    fn leaves_a_file_alone_in_which_its_lines_have_no_clear_bounds() {
        for content in [
            format!("{BEGIN}\nx\n"),
            format!("x\n{END}\n"),
            format!("{END}\n{BEGIN}\n"),
            format!("{BEGIN}\n{END}\n{BEGIN}\n{END}\n"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("hosts");
            std::fs::write(&path, &content).unwrap();
            let error = write(&Root::from(dir.path()), &path, "10.0.0.1 a\n").unwrap_err();
            assert_eq!(error.status(), Status::File);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }
}
