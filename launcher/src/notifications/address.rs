//! Where RabbitMQ is: `amqp://USER@HOST[:PORT][,HOST[:PORT]…][/VHOST]`, without the password.

use std::fmt;

use percent_encoding::percent_decode_str;

/// The port of AMQP, and of AMQP over TLS (RabbitMQ, "Networking").
const PORTS: (u16, u16) = (5672, 5671);
/// Longest text that AMQP 0-9-1 takes for a user or a virtual host, in bytes (a short string).
const LONGEST: usize = 255;

/// A RabbitMQ, as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether it is spoken to over TLS.
    pub secure: bool,
    /// The name to log in with.
    pub user: String,
    /// Its members; one after the other is tried. At least one.
    pub members: Vec<Member>,
    /// The virtual host.
    pub vhost: String,
}

/// A member of a RabbitMQ cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.bracketed(), self.port)
    }
}

impl Member {
    /// The host as it stands before a port.
    pub(super) fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl Address {
    /// Reads one. `rabbit://` is what OpenStack's services call `amqp://`.
    ///
    /// # Errors
    /// What is wrong with it, to be read after the flag. The text is not repeated: there may be a password in it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let schemes = [("amqp://", false), ("rabbit://", false), ("amqps://", true)];
        let found =
            schemes.into_iter().find_map(|(scheme, secure)| Some((text.strip_prefix(scheme)?, secure)));
        let Some((rest, secure)) = found else { return Err("does not begin with amqp:// or amqps://") };
        if rest.contains(['?', '#']) {
            return Err("has a query or a fragment ('?' or '#'), which is not used");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // oslo.messaging repeats the user before each member; one is enough, and two that differ are a mistake.
        let mut user = None;
        let mut members = Vec::new();
        for part in authority.split(',') {
            let (own, member) = match part.rsplit_once('@') {
                Some((own, member)) => (Some(own), member),
                None => (None, part),
            };
            if let Some(own) = own {
                if own.contains(':') {
                    return Err("has a password in it, which other users of the machine could read; \
                                put it into a file and name that with --notifications-password-file");
                }
                let own = decoded(own)?;
                if user.as_ref().is_some_and(|user| *user != own) {
                    return Err("names two users");
                }
                user = Some(own);
            }
            members.push(member_of(member, if secure { PORTS.1 } else { PORTS.0 })?);
        }
        let user = user.filter(|user| !user.is_empty()).ok_or("names no user (amqp://USER@HOST)")?;
        let vhost = if path.is_empty() { "/".to_owned() } else { decoded(path)? };
        Ok(Self { secure, user, members, vhost })
    }
}

fn member_of(text: &str, port: u16) -> Result<Member, &'static str> {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, "")) => (host, port),
        Some((host, rest)) => (host, number(rest.strip_prefix(':').ok_or("has text after a ']'")?)?),
        None => match text.split_once(':') {
            Some((host, digits)) => (host, number(digits)?),
            None => (text, port),
        },
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '%');
    if host.is_empty() || host.len() > LONGEST || !host.chars().all(allowed) {
        return Err("has no host, or one that cannot be");
    }
    Ok(Member { host: host.to_owned(), port })
}

fn number(digits: &str) -> Result<u16, &'static str> {
    match digits.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("has a port that is not 1 to 65535"),
    }
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let text =
        percent_decode_str(text).decode_utf8().map_err(|_| "is no UTF-8 where it is percent-encoded")?;
    if text.len() > LONGEST || text.contains('\0') {
        return Err("has a user or a virtual host that AMQP does not take");
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_operators_write() {
        for (text, secure, user, members, vhost) in [
            ("amqp://view@mq", false, "view", "mq:5672", "/"),
            ("amqp://view@mq/", false, "view", "mq:5672", "/"),
            ("amqps://view@mq.example.org/nova", true, "view", "mq.example.org:5671", "nova"),
            ("amqp://v%40x@127.0.0.1:1/%2Fnova", false, "v@x", "127.0.0.1:1", "/nova"),
            ("rabbit://view@a:1,view@b,[::1]:2//v", false, "view", "a:1 b:5672 [::1]:2", "/v"),
        ] {
            let read = Address::parse(text).unwrap();
            let all: Vec<_> = read.members.iter().map(ToString::to_string).collect();
            let got = (read.secure, read.user.as_str(), all.join(" "), read.vhost.as_str());
            assert_eq!(got, (secure, user, members.to_owned(), vhost), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_without_repeating_it() {
        for (text, words) in [
            ("http://mq", "does not begin with amqp://"),
            ("mq:5672", "does not begin with amqp://"),
            ("amqp://mq", "names no user"),
            ("amqp://@mq", "names no user"),
            ("amqp://view:secret@mq", "has a password in it"),
            ("rabbit://a@x,b@y", "names two users"),
            ("amqp://view@", "has no host"),
            ("amqp://view@m q", "has no host"),
            ("amqp://view@mq:0", "has a port"),
            ("amqp://view@mq:x", "has a port"),
            ("amqp://view@[::1]x", "after a ']'"),
            ("amqp://view@mq?heartbeat=1", "has a query"),
            ("amqp://view@mq/%ff", "no UTF-8"),
        ] {
            let problem = Address::parse(text).unwrap_err();
            assert!(problem.contains(words) && !problem.contains("secret"), "{text}: {problem}");
        }
        assert!(Address::parse(&format!("amqp://{}@mq", "u".repeat(256))).is_err());
    }
}
