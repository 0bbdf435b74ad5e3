//! Nodes: what a VM reports of itself under a pin.
//!
//! The service checks a report before it keeps it, and the agent checks it again before it uses it: a sealed report is
//! one that the service cannot read.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// The header by which a service tells what it offers beside the original's API: names, separated by commas. A client
/// that has not seen it asks for none of that, so a service without it never gets a request that it does not know.
pub const FEATURES: &str = "pairing-features";
/// The name of nodes in [`FEATURES`].
pub const FEATURE: &str = "nodes";
/// Longest report, JSON or sealed, in bytes.
pub const REPORT_MAX_BYTES: usize = 2 << 10;
/// Most nodes under one pin.
pub const NODES_PER_PIN: usize = 10_000;
/// Most bytes under one pin, identifiers and reports of its nodes together.
pub const NODE_BYTES_PER_PIN: usize = 8 << 20;
/// Longest identifier, in characters.
const ID_MAX_CHARS: usize = 64;
/// Longest host name, in characters (RFC 1035 section 2.3.4, in text).
const NAME_MAX_CHARS: usize = 253;
/// Longest label of a host name, in characters (RFC 1035 section 2.3.4).
const LABEL_MAX_CHARS: usize = 63;
/// Longest detail, in characters.
pub const DETAIL_MAX_CHARS: usize = 500;
/// Most addresses of one node.
pub const ADDRESSES_MAX: usize = 16;
/// Most ssh host keys of one node.
pub const HOST_KEYS_MAX: usize = 8;
/// What a sealed report begins with.
const SEALED: &str = "v1.";

/// How far a node has come. Each state of a healthy node includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It waits for the master, or, as the master, is about to publish its address.
    Waiting,
    /// It has what it needs of the cluster, and its boot goes on.
    Joined,
    /// It has booted.
    Ready,
    /// It did not get what it needs; the detail says why.
    Failed,
}

impl NodeState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Joined, Self::Ready, Self::Failed];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Joined => "joined",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }

    /// Reads a state as it is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether a node in this state counts where `wanted` is asked for: one that is ready has joined.
    #[must_use]
    pub fn includes(self, wanted: Self) -> bool {
        self == wanted || (self != Self::Failed && wanted != Self::Failed && self > wanted)
    }
}

/// What a node is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// It publishes its address.
    Master,
    /// It fetches the master's.
    Slave,
}

impl NodeRole {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Master, Self::Slave];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Slave => "slave",
        }
    }

    /// Reads a role as it is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport<'a> {
    /// Its host name; empty where it has none that could stand in `/etc/hosts`.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// What it is.
    pub role: NodeRole,
    /// How far it has come.
    pub state: NodeState,
    /// Its addresses, the one that others use first.
    #[serde(default)]
    pub addresses: Vec<Cow<'a, str>>,
    /// Since when it is in this state by its own clock, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "read_seconds")]
    pub since: Option<u64>,
    /// One line about the state; empty where there is nothing to say.
    #[serde(borrow, default)]
    pub detail: Cow<'a, str>,
    /// The public keys of its ssh daemon, each a type and the key in base64, without a comment.
    #[serde(default)]
    pub ssh_host_keys: Vec<Cow<'a, str>>,
}

/// Reads whole seconds. `1.0` is an integer as well as `1` (JSON Schema, validation, 6.1.1); above 2^53 neighbours are
/// no longer told apart (RFC 7493, 2.2).
fn read_seconds<'de, D: Deserializer<'de>>(source: D) -> Result<Option<u64>, D::Error> {
    const MAX: f64 = 9_007_199_254_740_991.0;
    // To print a float takes 8 KB of the agent.
    const SHOWN: u64 = 9_007_199_254_740_991;
    let Some(seconds) = Option::<f64>::deserialize(source)? else { return Ok(None) };
    if seconds.fract() != 0.0 || !(0.0..=MAX).contains(&seconds) {
        return Err(D::Error::custom(format_args!(
            "since: it is a whole number of seconds from 0 to {SHOWN}"
        )));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole and within the bounds"
    )]
    Ok(Some(seconds as u64))
}

impl NodeReport<'_> {
    /// The same, independent of the bytes that it was read from.
    #[must_use]
    pub fn into_owned(self) -> NodeReport<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        NodeReport {
            name: owned(self.name),
            role: self.role,
            state: self.state,
            addresses: self.addresses.into_iter().map(owned).collect(),
            since: self.since,
            detail: owned(self.detail),
            ssh_host_keys: self.ssh_host_keys.into_iter().map(owned).collect(),
        }
    }

    /// Checks what the types do not: nothing of a report that passes can break a line of a file that it is put into.
    ///
    /// # Errors
    /// One sentence that names the member; it never repeats what is wrong, which may be anything.
    pub fn check(&self) -> Result<(), String> {
        if !self.name.is_empty() && !is_host_name(&self.name) {
            return Err(format!(
                "name: a host name has at most {NAME_MAX_CHARS} letters, digits, hyphens and dots."
            ));
        }
        if self.addresses.len() > ADDRESSES_MAX {
            return Err(format!("addresses: a node has at most {ADDRESSES_MAX}."));
        }
        if self.addresses.iter().any(|address| address.parse::<IpAddr>().is_err()) {
            return Err("addresses: each is an IPv4 or IPv6 address.".to_owned());
        }
        if self.detail.chars().count() > DETAIL_MAX_CHARS {
            return Err(format!("detail: it has at most {DETAIL_MAX_CHARS} characters."));
        }
        if self.detail.chars().any(char::is_control) {
            return Err("detail: it is one line without control characters.".to_owned());
        }
        if self.ssh_host_keys.len() > HOST_KEYS_MAX {
            return Err(format!("ssh_host_keys: a node has at most {HOST_KEYS_MAX}."));
        }
        if !self.ssh_host_keys.iter().all(|key| is_host_key(key)) {
            return Err("ssh_host_keys: each is a type, a blank and the key in base64.".to_owned());
        }
        Ok(())
    }
}

/// A node as the service lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedNode<'a> {
    /// Its identifier.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// When its last report came, by the service's clock: RFC 3339 in UTC with `Z`.
    #[serde(borrow)]
    pub reported: Cow<'a, str>,
    /// How long ago that was when the list was made, in seconds.
    pub age: u64,
    /// The report, where it is not sealed.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub report: Option<NodeReport<'a>>,
    /// The sealed report.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Cow<'a, str>>,
}

/// The answer to a GET of `…/nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeList<'a> {
    /// Stands for this state of the nodes: `?after=` asks for what has changed since.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// Whether these are all nodes, and not only those that have reported since `?after=`.
    pub whole: bool,
    /// How many nodes there are, whatever is in this list.
    pub total: u64,
    /// The nodes, in the order of their identifiers.
    #[serde(borrow)]
    pub nodes: Vec<ListedNode<'a>>,
}

/// Whether a text can identify a node: 1 to 64 characters of `[A-Za-z0-9._-]`, and not a dot segment of a URL.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=ID_MAX_CHARS).contains(&text.len()) && text.bytes().all(allowed) && !matches!(text, "." | "..")
}

/// Whether a text is a host name as RFC 1123 section 2.1 has them.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_MAX_CHARS).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= NAME_MAX_CHARS && text.split('.').all(is_label)
}

/// Whether a text is the public key of an ssh daemon: type, blank, base64 (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
#[must_use]
pub fn is_host_key(text: &str) -> bool {
    let Some((kind, key)) = text.split_once(' ') else { return false };
    let is_kind = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.@".contains(&byte);
    let digits = key.trim_end_matches('=');
    !kind.is_empty()
        && kind.starts_with(|first: char| first.is_ascii_lowercase())
        && kind.bytes().all(is_kind)
        && digits.len() >= 16
        && key.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// Whether a body is a sealed report: the prefix, then base64url.
#[must_use]
pub fn is_sealed(text: &str) -> bool {
    text.strip_prefix(SEALED).is_some_and(|rest| {
        !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> NodeReport<'static> {
        NodeReport {
            name: "node-1.example".into(),
            role: NodeRole::Slave,
            state: NodeState::Ready,
            addresses: vec!["10.77.0.2".into(), "fd00::2".into()],
            since: Some(1_795_699_804),
            detail: "".into(),
            ssh_host_keys: vec!["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5n".into()],
        }
    }

    #[test]
    fn a_report_is_json_with_the_documented_members() {
        let json = r#"{"name":"node-1.example","role":"slave","state":"ready","addresses":["10.77.0.2","fd00::2"],"since":1795699804,"detail":"","ssh_host_keys":["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5n"]}"#;
        assert_eq!(serde_json::to_string(&report()).unwrap(), json);
        assert_eq!(serde_json::from_str::<NodeReport<'_>>(json).unwrap(), report());
        let short: NodeReport<'_> = serde_json::from_str(r#"{"role":"master","state":"waiting"}"#).unwrap();
        assert_eq!((short.name.as_ref(), short.since, short.check()), ("", None, Ok(())));
        let since = |value: &str| {
            let json = format!(r#"{{"role":"slave","state":"ready","since":{value}}}"#);
            serde_json::from_str::<NodeReport<'_>>(&json).map(|report| report.since).ok()
        };
        assert_eq!(since("9007199254740991"), Some(Some(9_007_199_254_740_991)));
        assert_eq!((since("5.0"), since("0"), since("null")), (Some(Some(5)), Some(Some(0)), Some(None)));
        for wrong in ["-1", "1.5", "9007199254740992", "1e300", "\"1\""] {
            assert_eq!(since(wrong), None, "{wrong}");
        }
        for wrong in [r#"{"role":"master","state":"asleep"}"#, r#"{"role":"nurse","state":"ready"}"#, "{}"] {
            assert!(serde_json::from_str::<NodeReport<'_>>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn says_which_member_is_wrong() {
        assert_eq!(report().check(), Ok(()));
        let mut wrong = vec![report(); 9];
        wrong[0].name = "a b".into();
        wrong[1].name = "a\n10.0.0.1 b".into();
        wrong[2].addresses = vec!["10.0.0.1 evil".into()];
        wrong[3].addresses = vec!["::1".into(); ADDRESSES_MAX + 1];
        wrong[4].detail = "two\nlines".into();
        wrong[5].detail = "x".repeat(DETAIL_MAX_CHARS + 1).into();
        wrong[6].ssh_host_keys = vec!["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@here".into()];
        wrong[7].ssh_host_keys = vec!["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5n".into(); HOST_KEYS_MAX + 1];
        wrong[8].detail = "\u{1b}[2J".into();
        let members = ["name", "name", "addresses", "addresses", "detail", "detail"].into_iter().chain([
            "ssh_host_keys",
            "ssh_host_keys",
            "detail",
        ]);
        for (report, member) in wrong.iter().zip(members) {
            let why = report.check().unwrap_err();
            assert!(why.starts_with(member) && why.ends_with('.'), "{why}");
        }
    }

    #[test]
    fn knows_identifiers_names_and_keys() {
        for id in ["a", "A.b_c-9", &"x".repeat(64), "..."] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", ".", "..", &"x".repeat(65), "a/b", "a b", "ü", "a\n"] {
            assert!(!is_id(id), "{id}");
        }
        for name in ["a", "node-1", "node-1.example.org", "0", &"a".repeat(63)] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", "a.", ".a", "-a", "a-", "a_b", "a b", "a\n", "#", "ü", &"a".repeat(64)] {
            assert!(!is_host_name(name), "{name}");
        }
        for key in ["ssh-rsa AAAAB3NzaC1yc2EAAAA=", "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1l+/=="] {
            assert!(is_host_key(key), "{key}");
        }
        for key in [
            "",
            "ssh-rsa",
            "ssh-rsa AAAA",
            "ssh-rsa  AAAAB3NzaC1yc2EAAAA",
            "* AAAAB3NzaC1yc2EAAAA",
            "ssh-rsa AAAAB3NzaC1y====",
        ] {
            assert!(!is_host_key(key), "{key}");
        }
        assert!(is_sealed("v1.abc-_9") && !is_sealed("v1.") && !is_sealed("v2.abc") && !is_sealed("v1.a b"));
    }

    #[test]
    fn a_node_that_is_ready_has_joined() {
        use NodeState::{Failed, Joined, Ready, Waiting};
        for (state, wanted, counts) in [
            (Ready, Joined, true),
            (Ready, Ready, true),
            (Joined, Ready, false),
            (Joined, Waiting, true),
            (Failed, Waiting, false),
            (Failed, Failed, true),
            (Ready, Failed, false),
        ] {
            assert_eq!(state.includes(wanted), counts, "{state:?} {wanted:?}");
        }
    }
}
