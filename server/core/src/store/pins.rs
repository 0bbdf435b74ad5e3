//! Drawing pins: 12 characters of `[a-z0-9]`, each equally likely, from the kernel's random numbers.

use std::fmt;
use std::hash::{Hash, Hasher};

use protocol::Pin;

/// A pin that our service made, as the store keeps it: without a pointer, and to be copied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PinKey([u8; Pin::MADE_LENGTH]);

/// As two numbers: each request is looked up by it.
impl Hash for PinKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, last @ ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        state.write_u32(u32::from_le_bytes(last));
    }
}

impl PinKey {
    /// `None` for a pin that is not like ours, which no store of ours has.
    #[must_use]
    pub fn of(pin: &Pin) -> Option<Self> {
        pin.made().copied().map(Self)
    }

    /// Reads the bytes that [`PinKey::bytes`] gave; `None` if they are not a pin of ours.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Pin::MADE_LENGTH]) -> Option<Self> {
        Pin::of_made(bytes).map(|_| Self(bytes))
    }

    /// Its characters.
    #[must_use]
    pub fn bytes(&self) -> &[u8; Pin::MADE_LENGTH] {
        &self.0
    }

    /// As the rest of the service has it.
    ///
    /// # Panics
    /// Never: it was made of a pin.
    #[must_use]
    pub fn pin(self) -> Pin {
        Pin::of_made(self.0).expect("it was made of a Pin or of the alphabet")
    }
}

/// As masked as a [`Pin`].
impl fmt::Debug for PinKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pin().fmt(f)
    }
}

/// Draws a pin.
///
/// # Errors
/// If the kernel has no random numbers to give.
pub(super) fn draw() -> Result<PinKey, getrandom::Error> {
    draw_from(getrandom::fill)
}

fn draw_from<E>(fill: impl Fn(&mut [u8]) -> Result<(), E>) -> Result<PinKey, E> {
    const LETTERS: u8 = 36;
    // Bytes from here on are thrown away: they would make the first letters of the alphabet likelier.
    const FAIR: u8 = u8::MAX - u8::MAX % LETTERS;

    let mut pin = [0; Pin::MADE_LENGTH];
    let mut drawn = 0;
    while drawn < pin.len() {
        // A few more than needed, so that a second look at the kernel is rare.
        let mut random = [0; Pin::MADE_LENGTH + 4];
        fill(&mut random)?;
        for byte in random.into_iter().filter(|byte| *byte < FAIR) {
            let Some(place) = pin.get_mut(drawn) else { break };
            *place = Pin::ALPHABET[usize::from(byte % LETTERS)];
            drawn += 1;
        }
    }
    Ok(PinKey(pin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::convert::Infallible;

    fn drawn_from(bytes: &[u8]) -> String {
        let next = Cell::new(0);
        let pin = draw_from(|out| {
            for place in out {
                *place = bytes[next.get() % bytes.len()];
                next.set(next.get() + 1);
            }
            Ok::<(), Infallible>(())
        });
        pin.unwrap().pin().reveal().to_owned()
    }

    #[test]
    fn throws_away_the_bytes_that_would_favour_a_letter() {
        assert_eq!(drawn_from(&[0, 35, 36, 251]), "a9a9a9a9a9a9");
        assert_eq!(drawn_from(&[252, 253, 254, 255, 1]), "bbbbbbbbbbbb");
    }

    #[test]
    fn draws_every_letter_at_every_place_and_never_a_pin_twice() {
        let pins: Vec<PinKey> = (0..4000).map(|_| draw().unwrap()).collect();
        for place in 0..Pin::MADE_LENGTH {
            for letter in Pin::ALPHABET {
                // Missing one by chance: 36 * 12 * (35/36)^4000, less than 10^-46.
                assert!(pins.iter().any(|pin| pin.bytes()[place] == *letter), "{letter} at {place}");
            }
        }
        let distinct: std::collections::HashSet<_> = pins.iter().collect();
        assert_eq!(distinct.len(), pins.len());
    }

    #[test]
    fn a_pin_survives_being_a_key() {
        let pin = Pin::parse("enico1qq0oey").unwrap();
        let key = PinKey::of(&pin).unwrap();
        assert_eq!(key.pin(), pin);
        assert_eq!(PinKey::from_bytes(*key.bytes()).map(PinKey::pin), Some(pin));
        assert!(PinKey::of(&Pin::parse("short").unwrap()).is_none());
        assert!(PinKey::from_bytes(*b"UPPER_CASE_!").is_none());
        assert!(PinKey::from_bytes([0xff; 12]).is_none());
    }
}
