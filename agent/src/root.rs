//! Where every absolute path hangs.

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
}
