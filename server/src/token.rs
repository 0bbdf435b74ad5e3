//! The token that it takes to make a pin, where an admin wants one: the first line of a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

use crate::error::Error;

/// Shortest token, in bytes: 16 random ones cannot be guessed.
const SHORTEST: usize = 16;

/// The token of a file. It has no `Debug`, so that it gets into no log. Clones are handles of the same.
#[derive(Clone)]
pub struct CreateToken {
    path: PathBuf,
    current: Arc<RwLock<String>>,
}

impl CreateToken {
    /// Reads a token.
    ///
    /// # Errors
    /// The file cannot be read, or what is in it is no token.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), current: Arc::new(RwLock::new(read(path)?)) })
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// As for [`CreateToken::read`]; the token in use stays in use.
    pub fn reload(&self) -> Result<(), Error> {
        let token = read(&self.path)?;
        let path = self.path.display();
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let found = if *current == token { "the same token" } else { "ANOTHER token" };
        *current = token;
        log::info!("{path} read again, with {found}");
        Ok(())
    }

    /// The token itself, for the client that gives it. Never for a log or an error.
    #[must_use]
    pub fn reveal(self) -> String {
        self.get()
    }

    fn get(&self) -> String {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a request gives it (RFC 6750 section 2.1).
    pub(crate) fn is_given(&self, headers: &HeaderMap) -> bool {
        headers.get(AUTHORIZATION).is_some_and(|given| {
            let (scheme, token) = given.as_bytes().split_at(given.len().min("Bearer ".len()));
            // SECURITY: how long the comparison takes must not tell how much of the token is right.
            scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(token.ct_eq(self.get().as_bytes()))
        })
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::file("read", path, source))?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Token { path: path.to_owned() });
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn read(text: &str) -> Result<CreateToken, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        CreateToken::read(file.path())
    }

    #[test]
    fn takes_the_first_line_if_it_is_long_enough() {
        assert_eq!(read("0123456789abcdef\nmore\n").unwrap().reveal(), "0123456789abcdef");
        for wrong in ["", "\n0123456789abcdef", "0123456789abcde", "0123456789 abcdef", "0123456789abcdeü"] {
            assert!(matches!(read(wrong), Err(Error::Token { .. })), "{wrong:?}");
        }
        assert!(matches!(CreateToken::read(Path::new("/nowhere")), Err(Error::File { .. })));
    }

    #[test]
    fn a_reload_keeps_the_token_when_the_file_has_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "0123456789abcdef").unwrap();
        let token = CreateToken::read(file.path()).unwrap();
        let in_use = token.clone();
        fs::write(file.path(), "short").unwrap();
        assert!(token.reload().is_err());
        assert_eq!(in_use.get(), "0123456789abcdef");
        fs::write(file.path(), "fedcba9876543210").unwrap();
        token.reload().unwrap();
        assert_eq!(in_use.get(), "fedcba9876543210");
    }

    #[test]
    fn knows_who_has_it() {
        let token = read("0123456789abcdef").unwrap();
        for (header, given) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer 0123456789abcdef ", false),
            ("Bearer 0123456789abcde", false),
            ("Bearer", false),
            ("Basic 0123456789abcdef", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(header).unwrap())]);
            assert_eq!(token.is_given(&headers), given, "{header:?}");
        }
        assert!(!token.is_given(&HeaderMap::new()));
    }
}
