//! The directory that stands for the guest's `/`.

use std::io;
use std::path::{Path, PathBuf};

/// The directory below which every absolute path is taken, so that tests never touch the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The file that `path` names below this root; a relative path stays as it is.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        match path.as_ref().strip_prefix("/") {
            Ok(below) => self.0.join(below),
            Err(_) => path.as_ref().to_path_buf(),
        }
    }

    /// Takes a path that [`Root::path`] has made apart: the directory at which to begin, and the path from there. One
    /// that does not lie below this root, such as a relative one from the command line, begins at the machine's `/`.
    ///
    /// # Errors
    /// The current directory is not known.
    pub fn split(&self, path: &Path) -> io::Result<(PathBuf, PathBuf)> {
        if let Ok(below) = path.strip_prefix(&self.0) {
            return Ok((self.0.clone(), below.to_path_buf()));
        }
        Ok((PathBuf::from("/"), std::path::absolute(path)?))
    }
}

impl Default for Root {
    fn default() -> Self {
        Self(PathBuf::from("/"))
    }
}

impl<P: Into<PathBuf>> From<P> for Root {
    fn from(dir: P) -> Self {
        Self(dir.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_absolute_paths_below_the_root_and_no_others() {
        let root = Root::from("/tmp/guest");
        assert_eq!(root.path("/user-data"), PathBuf::from("/tmp/guest/user-data"));
        assert_eq!(root.path("user-data"), PathBuf::from("user-data"));
        assert_eq!(Root::default().path("/user-data"), PathBuf::from("/user-data"));
    }

    #[test]
    fn takes_its_own_paths_apart_again() {
        let root = Root::from("/tmp/guest");
        let split = |root: &Root, path: &str| root.split(Path::new(path)).unwrap();
        assert_eq!(split(&root, "/tmp/guest/etc/x"), (PathBuf::from("/tmp/guest"), PathBuf::from("etc/x")));
        assert_eq!(split(&root, "/tmp/guests/x"), (PathBuf::from("/"), PathBuf::from("/tmp/guests/x")));
        assert_eq!(split(&Root::default(), "/etc/x"), (PathBuf::from("/"), PathBuf::from("etc/x")));
        let here = std::env::current_dir().unwrap();
        assert_eq!(split(&root, "user-data"), (PathBuf::from("/"), here.join("user-data")));
    }
}
