//! The pin: what a cluster is known by, and a bearer secret.

use std::fmt;

/// A pin. Its holder can make every slave of the cluster take any address, so it has no
/// `Debug` or `Display` that shows more than its first four characters; [`Pin::reveal`] gives the whole.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pin(Characters);

/// The service has one in each request, so those that it makes lie in no memory of their own. The others are behind a
/// second pointer, which keeps the whole at two words.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Characters {
    Made([u8; Pin::MADE_LENGTH]),
    Other(Box<Box<str>>),
}

/// A text that cannot be a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidPin {
    /// There is nothing.
    Empty,
    /// More than [`Pin::MAX_LENGTH`] characters.
    TooLong,
    /// A character outside `[A-Za-z0-9_-]`, which a URL should not carry.
    Character(char),
}

impl Pin {
    /// Length of the pins that our service and the original one make, in characters.
    pub const MADE_LENGTH: usize = 12;
    /// What our service and the original one make pins of.
    pub const ALPHABET: &'static [u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    /// Longest pin that the agent takes, in characters: another service may make other pins.
    pub const MAX_LENGTH: usize = 64;

    /// Reads a pin of any service: `[A-Za-z0-9_-]{1,64}`.
    ///
    /// # Errors
    /// Says which rule the text breaks, without repeating the text.
    pub fn parse(text: &str) -> Result<Self, InvalidPin> {
        if text.is_empty() {
            return Err(InvalidPin::Empty);
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-')) {
            return Err(InvalidPin::Character(bad));
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(InvalidPin::TooLong);
        }
        Ok(Self::parse_made(text).unwrap_or_else(|| Self(Characters::Other(Box::new(text.into())))))
    }

    /// Reads a pin as our service makes it: `[a-z0-9]{12}`. The only pins that the service's URLs have.
    #[must_use]
    pub fn parse_made(text: &str) -> Option<Self> {
        Self::of_made(text.as_bytes().try_into().ok()?)
    }

    /// The pin with these characters, if they are `[a-z0-9]`.
    #[must_use]
    pub fn of_made(characters: [u8; Self::MADE_LENGTH]) -> Option<Self> {
        // Every byte is looked at, so that the compiler can look at all of them at once.
        let made = characters.iter().fold(true, |made, b| made & matches!(b, b'a'..=b'z' | b'0'..=b'9'));
        made.then_some(Self(Characters::Made(characters)))
    }

    /// The characters of a pin that our service or the original one could have made.
    #[must_use]
    pub fn made(&self) -> Option<&[u8; Self::MADE_LENGTH]> {
        match &self.0 {
            Characters::Made(characters) => Some(characters),
            Characters::Other(_) => None,
        }
    }

    /// Whether our service or the original one could have made this pin.
    #[must_use]
    pub fn looks_made(&self) -> bool {
        self.made().is_some()
    }

    /// The pin itself: for requests, the cache and the person who asked for a new one. Never for a log or an error.
    ///
    /// # Panics
    /// Never: its characters are ASCII.
    #[must_use]
    pub fn reveal(&self) -> &str {
        match &self.0 {
            Characters::Made(characters) => str::from_utf8(characters).expect("they are ASCII"),
            Characters::Other(text) => text,
        }
    }
}

/// The masked form, `abcd…`. A pin so short that four characters would be most of it shows none.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.reveal();
        let shown = if text.len() >= 8 { &text[..4] } else { "" };
        write!(f, "{shown}…")
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

impl fmt::Display for InvalidPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "it is empty"),
            Self::TooLong => write!(f, "it is longer than {} characters", Pin::MAX_LENGTH),
            Self::Character(c) => {
                write!(f, "it contains {c:?}, but a pin has letters, digits, '-' and '_' only")
            }
        }
    }
}

impl std::error::Error for InvalidPin {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_pins_of_any_service_and_knows_ours() {
        for (text, made) in [("enico1qq0oey", true), ("A", false), ("ENICO1QQ0OEY", false), ("a-b_c", false)]
        {
            let pin = Pin::parse(text).unwrap();
            assert_eq!(pin.reveal(), text);
            assert_eq!(pin.looks_made(), made, "{text}");
            assert_eq!(Pin::parse_made(text).is_some(), made, "{text}");
        }
    }

    #[test]
    fn knows_a_made_pin_by_its_alphabet() {
        for byte in 0..=u8::MAX {
            let text = [byte; Pin::MADE_LENGTH];
            assert_eq!(Pin::of_made(text).is_some(), Pin::ALPHABET.contains(&byte), "{byte}");
        }
    }

    #[test]
    fn refuses_what_a_url_should_not_carry() {
        assert_eq!(Pin::parse(""), Err(InvalidPin::Empty));
        assert_eq!(Pin::parse("a/b"), Err(InvalidPin::Character('/')));
        assert_eq!(Pin::parse("ü"), Err(InvalidPin::Character('ü')));
        assert_eq!(Pin::parse(&"a".repeat(64)).map(|_| ()), Ok(()));
        assert_eq!(Pin::parse(&"a".repeat(65)), Err(InvalidPin::TooLong));
    }

    proptest! {
        #[test]
        fn never_shows_more_than_four_characters(text in "[A-Za-z0-9_-]{1,64}") {
            let pin = Pin::parse(&text).unwrap();
            for shown in [format!("{pin}"), format!("{pin:?}")] {
                prop_assert!(text.len() < 5 || !shown.contains(&text[..5]), "{shown}");
            }
        }
    }
}
