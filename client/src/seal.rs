//! The seal of a value: how a sealed cluster keeps its values from the service (docs/security.md, "A sealed cluster").
//!
//! Key: HKDF-SHA256 (RFC 5869) with the salt `cernvm-cluster/v1`, the secret as input and the pin as info. Cipher:
//! AES-256-GCM with a random nonce of 96 bits; the additional data is the pin, a NUL and the name of the key. On the wire:
//! `v1.` and nonce, ciphertext and tag in base64url without padding. `tests/fixtures/seal` has vectors of another
//! implementation.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use protocol::limits::VALUE_MAX_CHARS;
use protocol::{Pin, Secret};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

/// What a sealed value begins with.
const VERSION: &str = "v1.";
const SALT: &[u8] = b"cernvm-cluster/v1";
/// Bytes of nonce and tag.
const OVERHEAD: usize = NONCE_LEN + 16;

/// Longest value, in bytes, that a service takes once it is sealed; see [`VALUE_MAX_CHARS`].
pub const SEALED_VALUE_MAX_BYTES: usize = (VALUE_MAX_CHARS - VERSION.len()) * 3 / 4 - OVERHEAD;

/// What seals and opens the values of one pin.
pub struct Seal {
    key: LessSafeKey,
    prk: Prk,
    pin: Pin,
}

/// Why a value does not open. Shows neither the value nor the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// It has not the form of a sealed value.
    NotSealed,
    /// It begins as a sealed value and is none: cut off, or changed.
    Damaged,
    /// It was not sealed with this secret for this pin and this key. Which of these differs cannot be told.
    Foreign,
    /// It opens, and is not UTF-8.
    NotText,
}

impl Seal {
    /// The seal of a cluster.
    #[must_use]
    pub fn new(secret: &Secret, pin: &Pin) -> Self {
        let prk = Salt::new(HKDF_SHA256, SALT).extract(secret.bytes());
        let info = [pin.reveal().as_bytes()];
        let key = prk.expand(&info, &AES_256_GCM).expect("32 bytes are not too much for HKDF");
        Self { key: LessSafeKey::new(UnboundKey::from(key)), pin: pin.clone(), prk }
    }

    /// A value as a service may see it; a different one at each call.
    ///
    /// # Panics
    /// When the kernel has no random numbers.
    #[must_use]
    pub fn seal(&self, name: &str, value: &str) -> String {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).expect("the kernel has random numbers");
        self.seal_with(nonce, name, value)
    }

    fn seal_with(&self, nonce: [u8; NONCE_LEN], name: &str, value: &str) -> String {
        let mut sealed = Vec::with_capacity(OVERHEAD + value.len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(value.as_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(self.associated(name));
        let tag = self.key.seal_in_place_separate_tag(nonce, aad, &mut sealed[NONCE_LEN..]);
        sealed.extend_from_slice(tag.expect("a value is far below AES-GCM's limit").as_ref());
        format!("{VERSION}{}", BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The value that was sealed under this name.
    ///
    /// # Errors
    /// It is not a value that a holder of the secret sealed for this pin and this name.
    pub fn open(&self, name: &str, sealed: &str) -> Result<String, OpenError> {
        let mut bytes = decode(sealed)?;
        let (nonce, rest) = bytes.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Damaged)?;
        let value = self
            .key
            .open_in_place(nonce, Aad::from(self.associated(name)), rest)
            .map_err(|_| OpenError::Foreign)?;
        String::from_utf8(value.to_vec()).map_err(|_| OpenError::NotText)
    }

    /// A number that tells this secret and pin from others, in hex, and gives neither away: for a cache.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let info = [self.pin.reveal().as_bytes(), b"\0fingerprint"];
        let mut bytes = [0; 32];
        let derived = self.prk.expand(&info, HKDF_SHA256).and_then(|okm| okm.fill(&mut bytes));
        derived.expect("32 bytes are not too much for HKDF");
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn associated(&self, name: &str) -> Vec<u8> {
        [self.pin.reveal().as_bytes(), b"\0", name.as_bytes()].concat()
    }
}

/// Whether a value has the form of a sealed one.
#[must_use]
pub fn is_sealed(value: &str) -> bool {
    decode(value).is_ok()
}

/// How many characters a value of so many bytes has once it is sealed.
#[must_use]
pub fn sealed_length(bytes: usize) -> usize {
    VERSION.len() + ((OVERHEAD + bytes) * 4).div_ceil(3)
}

/// Nonce, ciphertext and tag.
fn decode(sealed: &str) -> Result<Vec<u8>, OpenError> {
    let text = sealed.strip_prefix(VERSION).ok_or(OpenError::NotSealed)?;
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        return Err(OpenError::NotSealed);
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| OpenError::Damaged)?;
    if bytes.len() < OVERHEAD { Err(OpenError::Damaged) } else { Ok(bytes) }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal(…, {})", self.pin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    /// What Python's cryptography has sealed.
    #[derive(Deserialize)]
    struct Vector {
        secret: String,
        pin: String,
        key: String,
        value: String,
        nonce: String,
        sealed: String,
    }

    impl Vector {
        fn all() -> Vec<Self> {
            let text = include_str!("../../tests/fixtures/seal/vectors.json");
            serde_json::from_str(text).unwrap()
        }

        fn seal(&self) -> Seal {
            Seal::new(&Secret::parse(&self.secret).unwrap(), &Pin::parse(&self.pin).unwrap())
        }
    }

    #[test]
    fn seals_and_opens_as_another_implementation() {
        let vectors = Vector::all();
        assert!(vectors.len() > 10);
        for vector in &vectors {
            let (seal, key) = (vector.seal(), &vector.key);
            let nonce = BASE64_URL_SAFE_NO_PAD.decode(&vector.nonce).unwrap().try_into().unwrap();
            assert_eq!(seal.seal_with(nonce, key, &vector.value), vector.sealed, "{key}");
            assert_eq!(seal.open(key, &vector.sealed).as_ref(), Ok(&vector.value), "{key}");
            assert_eq!(sealed_length(vector.value.len()), vector.sealed.len(), "{key}");
        }
    }

    #[test]
    fn opens_no_value_of_another_secret_pin_or_key() {
        let vectors = Vector::all();
        for (at, ours) in vectors.iter().enumerate() {
            let seal = ours.seal();
            for other in vectors.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, other)| other)
            {
                assert_eq!(seal.open(&other.key, &other.sealed), Err(OpenError::Foreign));
            }
            let other = if ours.key == "token" { "token2" } else { "token" };
            assert_eq!(seal.open(other, &ours.sealed), Err(OpenError::Foreign));
        }
    }

    #[test]
    fn the_longest_value_fills_what_a_service_takes() {
        assert!(sealed_length(SEALED_VALUE_MAX_BYTES) <= VALUE_MAX_CHARS);
        assert!(sealed_length(SEALED_VALUE_MAX_BYTES + 1) > VALUE_MAX_CHARS);
    }

    #[test]
    fn never_seals_one_value_twice_alike() {
        let seal = Vector::all()[0].seal();
        assert_ne!(seal.seal("master_ip", "10.0.0.5"), seal.seal("master_ip", "10.0.0.5"));
    }

    #[test]
    fn tells_what_is_not_sealed_from_what_is_damaged() {
        let vector = &Vector::all()[0];
        let seal = vector.seal();
        let whole = &vector.sealed;
        for (text, why) in [
            ("", OpenError::NotSealed),
            ("10.0.0.5", OpenError::NotSealed),
            ("v1.2.3", OpenError::NotSealed),
            ("v2.AAAA", OpenError::NotSealed),
            ("v1.", OpenError::Damaged),
            ("v1.AAAA", OpenError::Damaged),
            (&whole[..whole.len() - 2], OpenError::Damaged),
            (&whole[..whole.len() - 4], OpenError::Foreign),
            (&format!("{whole}="), OpenError::NotSealed),
            (&format!(" {whole}"), OpenError::NotSealed),
            (&format!("{whole}\n"), OpenError::NotSealed),
        ] {
            assert_eq!(seal.open("master_ip", text), Err(why), "{text:?}");
            assert_eq!(is_sealed(text), why == OpenError::Foreign, "{text:?}");
        }
        for cut in 0..whole.len() {
            assert!(seal.open("master_ip", &whole[..cut]).is_err(), "{cut} characters");
        }
    }

    #[test]
    fn a_fingerprint_tells_secrets_and_pins_apart_and_is_no_key() {
        let vectors = Vector::all();
        let mut prints: Vec<_> = vectors.iter().map(|vector| vector.seal().fingerprint()).collect();
        assert_eq!(vectors[0].seal().fingerprint(), prints[0]);
        prints.sort();
        prints.dedup();
        assert_eq!(prints.len(), vectors.len());
        assert!(prints.iter().all(|print| print.len() == 64));
    }

    #[test]
    fn shows_no_key() {
        assert_eq!(format!("{:?}", Vector::all()[0].seal()), "Seal(…, enic…)");
    }

    fn any_seal() -> impl Strategy<Value = (Seal, [u8; 32], String)> {
        (any::<[u8; 32]>(), "[A-Za-z0-9_-]{1,64}").prop_map(|(secret, pin)| {
            (Seal::new(&Secret::from_bytes(secret), &Pin::parse(&pin).unwrap()), secret, pin)
        })
    }

    proptest! {
        #[test]
        fn gives_back_what_it_sealed(
            (seal, ..) in any_seal(), name in "[A-Za-z0-9_-]{1,100}", value in "\\PC{0,400}",
        ) {
            let sealed = seal.seal(&name, &value);
            prop_assert_eq!(sealed.len(), sealed_length(value.len()));
            prop_assert!(sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
            prop_assert_eq!(seal.open(&name, &sealed), Ok(value));
        }

        #[test]
        fn gives_back_a_value_of_any_length(
            (seal, ..) in any_seal(), length in 0..=SEALED_VALUE_MAX_BYTES, fill in "[ -~]",
        ) {
            let value = fill.repeat(length);
            prop_assert_eq!(seal.open("k", &seal.seal("k", &value)), Ok(value));
        }

        #[test]
        fn opens_nothing_that_was_changed(
            (seal, ..) in any_seal(), value in "[ -~]{0,80}", at: prop::sample::Index, byte in "[ -~]",
        ) {
            let sealed = seal.seal("token", &value);
            let at = at.index(sealed.len());
            let changed = format!("{}{byte}{}", &sealed[..at], &sealed[at + 1..]);
            prop_assume!(changed != sealed);
            prop_assert!(seal.open("token", &changed).is_err());
        }

        #[test]
        fn opens_nothing_of_another_name_pin_or_secret(
            (seal, secret, pin) in any_seal(), name in "[a-z_]{1,20}", other in "[A-Za-z0-9_-]{1,64}", bit in 0..256_usize,
        ) {
            let sealed = seal.seal(&name, "10.0.0.5");
            if other != name {
                prop_assert_eq!(seal.open(&other, &sealed), Err(OpenError::Foreign));
            }
            if other != pin {
                let of_other = Seal::new(&Secret::from_bytes(secret), &Pin::parse(&other).unwrap());
                prop_assert_eq!(of_other.open(&name, &sealed), Err(OpenError::Foreign));
            }
            let mut changed = secret;
            changed[bit / 8] ^= 1 << (bit % 8);
            let of_changed = Seal::new(&Secret::from_bytes(changed), &Pin::parse(&pin).unwrap());
            prop_assert_eq!(of_changed.open(&name, &sealed), Err(OpenError::Foreign));
        }
    }
}
