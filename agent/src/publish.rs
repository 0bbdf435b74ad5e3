//! `publish`: any key under the pin, as long as a slave would take its value.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use protocol::key::{MASTER_IP, MASTER_READY};
use protocol::limits::VALUE_MAX_CHARS;

use crate::backoff::{Backoff, Clock};
use crate::cli::ValueSource;
use crate::master::{self, Master};
use crate::session::Session;
use client::seal::{SEALED_VALUE_MAX_BYTES, is_sealed};
use client::{Outcome, Request, Service};
use context::placeholder;
use context::value::{self, Origin};
use protocol::error::{Error, Status};

/// Whether a key can be published: some placeholder must name it, and the agent must not keep it itself.
///
/// # Errors
/// 65 with the name that works, or with the setting.
pub fn check_key(key: &str) -> Result<(), Error> {
    if [MASTER_IP, MASTER_READY].contains(&key) {
        let problem =
            format!("the key '{key}' is what `contextualize` and `master-ready` store on the master");
        let next = "to push another address, put cvm_cluster_master_ip into the master's ucernvm section";
        return Err(Error::new(Status::BadContext, problem, next));
    }
    let placeholder = format!("###{}_PLACEHOLDER###", key.to_ascii_uppercase());
    if placeholder::find(placeholder.as_bytes()).any(|found| found.placeholder.key() == key) {
        return Ok(());
    }
    let mut name: String = key.to_ascii_lowercase().replace('-', "_");
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert_str(0, "key_");
    }
    let problem = format!("no placeholder can stand for the key '{key}'");
    let upper = name.to_ascii_uppercase();
    let next = format!("publish it as '{name}', for which the placeholder is ###{upper}_PLACEHOLDER###");
    Err(Error::new(Status::BadContext, problem, next))
}

/// Reads the value of a key from where the command line says; one final newline of a file or of standard input is not
/// part of it. A cluster with a secret, `sealed`, takes shorter ones.
///
/// # Errors
/// 65 for a value that a slave would refuse or no service takes, 74 when it cannot be read.
pub fn read_value(key: &str, source: ValueSource, sealed: bool) -> Result<String, Error> {
    let text = match source {
        ValueSource::Literal(text) => text,
        ValueSource::File(path) => {
            let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
            without_newline(read(key, file, &path)?)
        }
        ValueSource::StandardInput => {
            without_newline(read(key, io::stdin().lock(), Path::new("standard input"))?)
        }
    };
    value::check(key, &text, Origin::Published)?;
    let problem = match sealed {
        true if text.len() > SEALED_VALUE_MAX_BYTES => {
            format!("is longer than {SEALED_VALUE_MAX_BYTES} characters, the most that can be sealed")
        }
        false if is_sealed(&text) => {
            "has the form of a sealed value, which no slave takes for one".to_owned()
        }
        _ => return Ok(text),
    };
    Err(Error::new(
        Status::BadContext,
        format!("the value of '{key}' {problem}"),
        "publish a shorter value, or one of another form",
    ))
}

/// Puts the value under the pin, in place of one that is there; on a `master` only while the cluster is its own.
///
/// # Errors
/// As [`Master::may_publish`] and [`Session::ask`].
pub fn publish<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    master: Option<&Master<'_>>,
    key: &str,
    value: &str,
) -> Result<(), Error> {
    let deadline = session.deadline();
    let may_publish =
        |session: &mut _| master.map_or(Ok(()), |master| master.may_publish(session, &deadline));
    let mut backoff = Backoff::default();
    loop {
        may_publish(session)?;
        match session.ask(&Request::Create { key, value }, &deadline)? {
            Outcome::Done => return Ok(()),
            Outcome::Exists => {
                // It may be there since another master has taken this one's place.
                may_publish(session)?;
                if session.ask(&Request::Replace { key, value }, &deadline)? == Outcome::Done {
                    return Ok(());
                }
            }
            _ => {}
        }
        master::look_again(session, &mut backoff, &deadline)?;
    }
}

fn read(key: &str, input: impl Read, path: &Path) -> Result<String, Error> {
    let refuse = |problem: String| Error::unsafe_value(Status::BadContext, key, &problem);
    // One byte more than may be, and a line end: what a value may hold is ASCII.
    let most = VALUE_MAX_CHARS as u64 + 3;
    let mut bytes = Vec::new();
    input.take(most).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 == most {
        return Err(refuse(format!("is longer than {VALUE_MAX_CHARS} characters")));
    }
    String::from_utf8(bytes).map_err(|_| refuse("is not text".to_owned()))
}

fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::cannot_read(path, source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::UnsavedRecord;
    use crate::session::fake::{FakeSession, done, exists, missing, value};
    use context::settings::AddressRule;

    #[test]
    fn leaves_the_keys_of_another_master_alone() {
        let rule = AddressRule::Literal("10.0.0.5".parse().unwrap());
        let mut memory = UnsavedRecord::default();
        let master = Master {
            rule: &rule,
            machine: Vec::new(),
            boot: None,
            booted: None,
            force: false,
            memory: &mut memory,
        };
        let script = vec![
            ("cluster", done()),
            ("get master_ip", value("10.0.0.5")),
            ("create token=abc", exists()),
            ("get master_ip", value("10.0.0.9")),
        ];
        let mut fake = FakeSession::script(1500, script);
        let error = publish(&mut fake.session, Some(&master), "token", "abc").unwrap_err();
        assert_eq!(error.status(), Status::Nonsense);
    }

    #[test]
    fn puts_a_key_in_place_of_one_that_is_there() {
        for (script, exit) in [
            (vec![("cluster", done()), ("create token=abc", done())], None),
            (vec![("cluster", done()), ("create token=abc", exists()), ("replace token=abc", done())], None),
            (
                vec![
                    ("cluster", done()),
                    ("create token=abc", exists()),
                    ("replace token=abc", missing()),
                    ("cluster", done()),
                    ("create token=abc", done()),
                ],
                None,
            ),
            (
                vec![
                    ("cluster", done()),
                    ("create token=abc", missing()),
                    ("cluster", missing()),
                    ("cluster", missing()),
                ],
                Some(Status::Refused),
            ),
            (vec![("cluster", missing()), ("cluster", missing())], Some(Status::Refused)),
        ] {
            let result = publish(&mut FakeSession::script(1500, script).session, None, "token", "abc");
            assert_eq!(result.err().map(|error| error.status()), exit);
        }
    }

    #[test]
    fn refuses_a_key_that_no_placeholder_names_and_says_which_works() {
        for key in ["k3s_token", "a", "a1_b"] {
            check_key(key).unwrap();
        }
        for (key, works) in [
            ("K3S_TOKEN", "'k3s_token'"),
            ("join-token", "'join_token'"),
            ("9lives", "'key_9lives'"),
            ("master_ip", "cvm_cluster_master_ip"),
            ("master_ready", "cvm_cluster_master_ip"),
        ] {
            let error = check_key(key).unwrap_err();
            assert_eq!(error.status(), Status::BadContext);
            assert!(error.to_string().contains(&format!("'{key}'")), "{error}");
            assert!(error.next_step().contains(works), "{}", error.next_step());
        }
    }

    #[track_caller]
    fn check(input: &[u8], expected: Result<&str, &str>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), input).unwrap();
        match (read_value("token", ValueSource::File(file.path().to_owned()), false), expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected),
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{error}");
                assert_eq!(error.status(), Status::BadContext);
            }
            (got, _) => panic!("{input:?}: {got:?}"),
        }
    }

    #[test]
    fn strips_one_newline_of_a_file() {
        check(b"abc", Ok("abc"));
        check(b"abc\n", Ok("abc"));
        check(b"abc\r\n", Ok("abc"));
        check(b"abc\n\n", Err("line end"));
        check(b"\n", Err("empty"));
    }

    #[test]
    fn refuses_what_a_slave_would_refuse() {
        check(b"a'b", Err("syntax"));
        check(b"\xff", Err("not text"));
        let longest = "x".repeat(VALUE_MAX_CHARS);
        check(format!("{longest}\n").as_bytes(), Ok(&longest));
        check(format!("{longest}x\n").as_bytes(), Err("longer"));
        check(&vec![b'x'; 1 << 20], Err("longer"));
    }

    #[test]
    fn names_a_file_that_cannot_be_read() {
        let error = read_value("token", ValueSource::File("/nonexistent/token".into()), false).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/token"), "{error}");
        assert_eq!(error.status(), Status::File);
    }

    #[test]
    fn takes_what_can_be_sealed_and_nothing_that_looks_sealed() {
        let read = |text: &str, sealed| read_value("token", ValueSource::Literal(text.to_owned()), sealed);
        let longest = "x".repeat(SEALED_VALUE_MAX_BYTES);
        assert_eq!(read(&longest, true).unwrap(), longest);
        let error = read(&format!("{longest}x"), true).unwrap_err();
        assert_eq!(error.status(), Status::BadContext);
        assert!(error.to_string().contains("is longer than 49121 characters"), "{error}");
        read(&format!("{longest}x"), false).unwrap();

        let sealed = format!("v1.{}", "A".repeat(40));
        let error = read(&sealed, false).unwrap_err();
        assert_eq!(error.status(), Status::BadContext);
        assert!(!error.to_string().contains(&sealed), "{error}");
        read(&sealed, true).unwrap();
        read("v1.29.3", false).unwrap();
    }

    #[test]
    fn takes_a_word_as_it_is() {
        assert_eq!(read_value("token", ValueSource::Literal("abc".into()), false).unwrap(), "abc");
        assert!(read_value("token", ValueSource::Literal("abc\n".into()), false).is_err());
    }
}
