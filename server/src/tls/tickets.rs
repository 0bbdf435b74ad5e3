//! Session tickets of TLS 1.3 (RFC 8446 section 4.6.1) that outlive the service's process: clients that come back after a
//! restart resume their sessions, which spares both sides the signature and the certificates.
//!
//! The keys that seal tickets are kept in the data directory. rustls' own ticketer keeps its keys to itself, so tickets
//! are sealed here, in the same form (key name, nonce, ChaCha20-Poly1305). What a ticket is sealed with says for which
//! public key of the service it was issued: when the service gets another key, old tickets are worth nothing.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use rustls::ProtocolVersion;
use rustls::server::ProducesTickets;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Current, keep};
use crate::clock::{Clock as _, SystemClock, Timestamp};

/// The name of the file in the data directory.
pub(crate) const FILE_NAME: &str = "tls-tickets.key";
/// How long a key seals tickets. It opens them for as long again.
const ROTATION: Duration = Duration::from_secs(6 * 60 * 60);
/// How often the age of the key is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// Bytes of a key of ChaCha20-Poly1305.
const KEY_BYTES: usize = 32;
/// Bytes of the name of a key, which stands before each ticket.
const NAME_BYTES: usize = 16;
/// What the name of a key is the hash of, together with the key.
const NAMING: &[u8] = b"cernvm-pairing-server ticket key";

/// The keys that seal session tickets.
pub(crate) struct Tickets {
    /// Where they are kept; `None`: they end with the process.
    path: Option<PathBuf>,
    keys: RwLock<TicketKeys>,
}

struct TicketKeys {
    current: Key,
    previous: Option<Key>,
}

struct Key {
    created: Timestamp,
    bytes: [u8; KEY_BYTES],
    name: [u8; NAME_BYTES],
    sealing: LessSafeKey,
}

impl Tickets {
    /// The keys that are kept in a directory, or new ones. Never fails over the file: it only spares processor time.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub(crate) fn open(dir: Option<&Path>) -> io::Result<Self> {
        Self::open_at(dir.map(|dir| dir.join(FILE_NAME)), SystemClock.now())
    }

    fn open_at(path: Option<PathBuf>, now: Timestamp) -> io::Result<Self> {
        let kept = path.as_deref().and_then(|path| {
            let read = read(path).inspect_err(|err| {
                log::warn!(
                    "{}: {err}; a new key takes its place, and no TLS session is resumed",
                    path.display()
                );
            });
            read.ok().flatten()
        });
        let found = kept.is_some();
        let keys = match kept {
            Some(keys) => keys,
            None => TicketKeys { current: Key::new(now)?, previous: None },
        };
        let tickets = Self { path, keys: RwLock::new(keys) };
        if !found {
            tickets.keep();
        }
        tickets.rotate_at(now)?;
        Ok(tickets)
    }

    /// Puts a new key in the place of one that has sealed long enough, for as long as it is polled.
    pub(crate) async fn rotate(self: Arc<Self>) {
        loop {
            sleep(LOOK).await;
            let tickets = self.clone();
            // It waits for the disk.
            let rotated = spawn_blocking(move || tickets.rotate_at(SystemClock.now())).await;
            if let Ok(Err(err)) = rotated {
                log::warn!("no new key for TLS session tickets: {err}; the old one stays in use");
            }
        }
    }

    fn rotate_at(&self, now: Timestamp) -> io::Result<()> {
        let age = self.read_keys(|keys| keys.current.age(now));
        if age.is_some_and(|age| age < ROTATION) {
            return Ok(());
        }
        let new = Key::new(now)?;
        {
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            let old = std::mem::replace(&mut keys.current, new);
            // One that lay for long in a file of a service that was off, or that comes from the future, opens nothing.
            keys.previous = age.is_some_and(|age| age < 2 * ROTATION).then_some(old);
        }
        self.keep();
        Ok(())
    }

    fn keep(&self) {
        let Some(path) = &self.path else { return };
        let text = self.read_keys(TicketKeys::to_text);
        if let Err(err) = keep(path, &text) {
            log::warn!(
                "cannot write {}: {err}; TLS sessions are not resumed after a restart. Next: see that the disk has room \
                 and the service's user may write there",
                path.display()
            );
        }
    }

    fn read_keys<T>(&self, read: impl FnOnce(&TicketKeys) -> T) -> T {
        read(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Seals the state of a session for clients of a service with this identity.
    fn seal(&self, state: &[u8], identity: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        // A random one, as rustls has it: a counter would tell how many clients there are.
        getrandom::fill(&mut nonce).ok()?;
        self.read_keys(|TicketKeys { current, .. }| {
            let mut ticket = [&current.name[..], &nonce, state].concat();
            let sealed = &mut ticket[NAME_BYTES + NONCE_LEN..];
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag =
                current.sealing.seal_in_place_separate_tag(nonce, current.bound_to(identity), sealed).ok()?;
            ticket.extend(tag.as_ref());
            Some(ticket)
        })
    }

    /// The state of a session, if one of the keys sealed it for this identity.
    fn open_ticket(&self, ticket: &[u8], identity: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        self.read_keys(|TicketKeys { current, previous }| {
            // The name is no secret: it stands in every ticket.
            let key =
                [Some(current), previous.as_ref()].into_iter().flatten().find(|key| key.name == name)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut state = sealed.to_vec();
            let bytes = key.sealing.open_in_place(nonce, key.bound_to(identity), &mut state).ok()?.len();
            state.truncate(bytes);
            Some(state)
        })
    }
}

impl Key {
    fn new(now: Timestamp) -> io::Result<Self> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|err| io::Error::other(err.to_string()))?;
        Ok(Self::from_bytes(bytes, now))
    }

    fn from_bytes(bytes: [u8; KEY_BYTES], created: Timestamp) -> Self {
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&digest(&SHA256, &[NAMING, &bytes].concat()).as_ref()[..NAME_BYTES]);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).expect("it has the length of its algorithm");
        Self { created, bytes, name, sealing: LessSafeKey::new(key) }
    }

    /// `None`: it is of a time that has not come.
    fn age(&self, now: Timestamp) -> Option<Duration> {
        (self.created <= now).then(|| now.since(self.created))
    }

    fn bound_to(&self, identity: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([&self.name, identity].concat())
    }
}

impl TicketKeys {
    /// A line for each key, the one in use first: when it was made, in microseconds since 1970, and the key in base64.
    fn to_text(&self) -> String {
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten().fold(
            String::new(),
            |mut text, key| {
                let _ = writeln!(text, "{} {}", key.created.0, BASE64.encode(key.bytes));
                text
            },
        )
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut keys = text.lines().map(|line| {
            let (created, key) = line.split_once(' ')?;
            let bytes = BASE64.decode(key).ok()?.try_into().ok()?;
            Some(Key::from_bytes(bytes, Timestamp(created.parse().ok()?)))
        });
        let (current, previous) = (keys.next()??, keys.next());
        match previous {
            Some(None) => None,
            previous => keys.next().is_none().then_some(Self { current, previous: previous.flatten() }),
        }
    }
}

fn read(path: &Path) -> io::Result<Option<TicketKeys>> {
    let invalid = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err),
    };
    if fs::metadata(path)?.mode() & 0o077 != 0 {
        return invalid("other users can read the key");
    }
    TicketKeys::from_text(&text).map_or_else(|| invalid("not a file of ticket keys"), |keys| Ok(Some(keys)))
}

/// What rustls asks for tickets.
pub(super) struct Ticketer {
    pub(super) tickets: Arc<Tickets>,
    pub(super) certificate: Arc<Current>,
}

impl std::fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticketer").finish_non_exhaustive()
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    /// A ticket is good for at least as long, in seconds.
    fn lifetime(&self) -> u32 {
        u32::try_from(ROTATION.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        is_tls13(state).then(|| self.tickets.seal(state, &self.certificate.get().identity))?
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.tickets.open_ticket(ticket, &self.certificate.get().identity)
    }
}

/// Whether the state of a session, as rustls encodes it, is that of TLS 1.3: whether there is a server name, the name
/// with its length, the version. A ticket of TLS 1.2 has the keys of the session in it: with the key of the ticket, what
/// was recorded could be read. That of TLS 1.3 has not, since each resumption exchanges new keys.
fn is_tls13(state: &[u8]) -> bool {
    let version = match state {
        [0, rest @ ..] => Some(rest),
        [1, length, rest @ ..] => rest.get(usize::from(*length)..),
        _ => None,
    };
    version.is_some_and(|rest| rest.starts_with(&u16::from(ProtocolVersion::TLSv1_3).to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);
    const STATE: &[u8] = b"the state of a session";

    fn open(dir: &Path, now: Timestamp) -> Tickets {
        Tickets::open_at(Some(dir.join(FILE_NAME)), now).unwrap()
    }

    #[test]
    fn opens_tickets_after_a_restart_and_for_one_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), NOW);
        let mode = fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let ticket = first.seal(STATE, b"a").unwrap();
        for (after, opens) in [
            (Duration::ZERO, true),
            (ROTATION - Duration::from_secs(1), true),
            // Another key seals from here on.
            (ROTATION, true),
            (2 * ROTATION - Duration::from_secs(1), true),
            (2 * ROTATION, false),
        ] {
            let restarted = open(dir.path(), NOW.after(after));
            assert_eq!(restarted.open_ticket(&ticket, b"a").is_some(), opens, "{after:?}");
            let another = restarted.seal(STATE, b"a").unwrap();
            assert_eq!(another[..NAME_BYTES] == ticket[..NAME_BYTES], after < ROTATION, "{after:?}");
            assert_eq!(open(dir.path(), NOW.after(after)).open_ticket(&another, b"a").unwrap(), STATE);
        }
    }

    #[test]
    fn rotates_while_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let tickets = open(dir.path(), NOW);
        let ticket = tickets.seal(STATE, b"a").unwrap();
        for (rotations, opens) in [(1, true), (2, false)] {
            let before = fs::read(dir.path().join(FILE_NAME)).unwrap();
            tickets.rotate_at(NOW.after(rotations * ROTATION)).unwrap();
            assert_ne!(fs::read(dir.path().join(FILE_NAME)).unwrap(), before);
            assert_eq!(tickets.open_ticket(&ticket, b"a").is_some(), opens);
        }
    }

    #[test]
    fn a_key_of_long_ago_or_of_the_future_opens_nothing() {
        for now in [NOW.after(3 * ROTATION), NOW.before(Duration::from_secs(1))] {
            let dir = tempfile::tempdir().unwrap();
            let ticket = open(dir.path(), NOW).seal(STATE, b"a").unwrap();
            assert_eq!(open(dir.path(), now).open_ticket(&ticket, b"a"), None);
        }
    }

    #[test]
    fn opens_nothing_of_another_identity_or_that_was_changed() {
        let tickets = Tickets::open_at(None, NOW).unwrap();
        let ticket = tickets.seal(STATE, b"a").unwrap();
        assert_eq!(tickets.open_ticket(&ticket, b"a").unwrap(), STATE);
        assert_eq!(tickets.open_ticket(&ticket, b"b"), None);
        for byte in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[byte] ^= 1;
            assert_eq!(tickets.open_ticket(&changed, b"a"), None, "byte {byte}");
            assert_eq!(tickets.open_ticket(&ticket[..byte], b"a"), None, "{byte} bytes");
        }
        assert_eq!(Tickets::open_at(None, NOW).unwrap().open_ticket(&ticket, b"a"), None);
    }

    #[test]
    fn puts_a_new_key_in_the_place_of_a_file_that_is_no_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let ticket = open(dir.path(), NOW).seal(STATE, b"a").unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let spoil = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        for (text, mode, opens) in [
            (good.as_str(), 0o600, true),
            (&good, 0o640, false),
            (&good.replace('A', "*").replace("1700", "17x0"), 0o600, false),
            (&format!("{good}rubbish\n"), 0o600, false),
            (&format!("{good}{good}{good}"), 0o600, false),
            ("", 0o600, false),
        ] {
            spoil(text, mode);
            assert_eq!(open(dir.path(), NOW).open_ticket(&ticket, b"a").is_some(), opens, "{text:?}");
            let new = open(dir.path(), NOW).seal(STATE, b"a").unwrap();
            assert!(open(dir.path(), NOW).open_ticket(&new, b"a").is_some(), "the file is whole again");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_costs_no_more_than_the_resumption() {
        let tickets = open(Path::new("/nonexistent/\0"), NOW);
        let ticket = tickets.seal(STATE, b"a").unwrap();
        assert_eq!(tickets.open_ticket(&ticket, b"a").unwrap(), STATE);
    }

    #[test]
    fn knows_the_state_of_tls_1_3() {
        for (state, is) in [
            (&[0, 3, 4, 0x13, 1][..], true),
            (&[1, 2, b'a', b'b', 3, 4, 0x13, 1], true),
            (&[0, 3, 3, 0xc0, 0x2b], false),
            (&[1, 2, b'a', b'b', 3, 3], false),
            (&[1, 200, 3, 4], false),
            (&[2, 3, 4], false),
            (&[], false),
        ] {
            assert_eq!(is_tls13(state), is, "{state:?}");
        }
    }
}
