//! The secret of a sealed cluster, `cvm_cluster_secret`: what its values are sealed with, and what no service gets.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// A secret of 32 random bytes. Its holder can read and make every value of the cluster, so it has no `Debug` that shows
/// any of it and no `Display`; [`Secret::reveal`] gives the whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; Secret::BYTES]);

/// A text that cannot be a secret. It shows no character of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidSecret {
    /// So many characters, which are not [`Secret::LENGTH`].
    Length(usize),
    /// A character outside `[A-Za-z0-9_-]`.
    Alphabet,
    /// The last character stands for more bits than 32 bytes have.
    End,
}

impl Secret {
    /// How many bytes a secret has.
    pub const BYTES: usize = 32;
    /// How many characters its text has.
    pub const LENGTH: usize = 43;

    /// A secret of these bytes, which have to be random.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads a secret: 32 bytes in base64url without padding (RFC 4648 section 5).
    ///
    /// # Errors
    /// Says which rule the text breaks, without repeating any of the text.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        if text.bytes().any(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'_' | b'-')) {
            return Err(InvalidSecret::Alphabet);
        }
        if text.len() != Self::LENGTH {
            return Err(InvalidSecret::Length(text.len()));
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidSecret::End)?;
        Ok(Self(bytes.try_into().map_err(|_| InvalidSecret::End)?))
    }

    /// The bytes: what keys are derived from.
    #[must_use]
    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The secret as a context has it. Never for a log, an error, a command line or a service.
    #[must_use]
    pub fn reveal(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for InvalidSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => {
                write!(f, "it has {length} characters, and a secret has {}", Secret::LENGTH)
            }
            Self::Alphabet => {
                write!(
                    f,
                    "it has a character in it that base64url has not: letters, digits, '-' and '_' only"
                )
            }
            Self::End => write!(f, "its last character is not one that 32 bytes end with"),
        }
    }
}

impl std::error::Error for InvalidSecret {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn says_what_is_wrong_with_a_text() {
        let right = Secret::from_bytes([0xff; 32]).reveal();
        assert_eq!(right, format!("{}8", "_".repeat(42)));
        assert!(Secret::parse(&right).is_ok());
        for (text, why) in [
            (String::new(), InvalidSecret::Length(0)),
            (right[1..].to_owned(), InvalidSecret::Length(42)),
            (format!("{right}A"), InvalidSecret::Length(44)),
            (format!("{right}="), InvalidSecret::Alphabet),
            (format!("+{}", &right[1..]), InvalidSecret::Alphabet),
            (format!("ü{}", &right[2..]), InvalidSecret::Alphabet),
            (format!("{}9", &right[..42]), InvalidSecret::End),
        ] {
            assert_eq!(Secret::parse(&text), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_reveals_and_shows_nothing(bytes: [u8; 32]) {
            let secret = Secret::from_bytes(bytes);
            prop_assert_eq!(Secret::parse(&secret.reveal()), Ok(secret.clone()));
            prop_assert_eq!(format!("{secret:?}"), "Secret(…)");
        }
    }
}
