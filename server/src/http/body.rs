//! The body of a request: reading it within bounds, and decoding the three media types that the API takes into the
//! two fields that it knows. What the fields may hold is `fields.rs`'s business.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::fields::{Field, KeyFields};
use super::refusal::Refusal;

/// Longest body, in bytes: all that a pin may hold, which also has room for the longest value with every character
/// escaped (12 bytes of `\ud83d\ude00` or `%F0%9F%98%80` each).
const MAX_BYTES: usize = protocol::limits::BYTES_PER_PIN;
/// How long a body may take: at this limit the slowest line that still gets through has 35 kB/s for the longest
/// body, and a few bytes a second for what agents send.
const MAX_TIME: Duration = Duration::from_secs(30);

/// What a request's body is: hyper's, or a test's.
pub(crate) trait RequestBody:
    Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin
{
}
impl<B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin> RequestBody for B {}

pub(super) const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";
/// What a body can be.
pub(super) const MEDIA_TYPES: [&str; 3] = [JSON, FORM, MULTIPART];

/// Reads and decodes what a client sent. A request without a body, whatever its type, has no fields.
pub(crate) async fn decode(headers: &HeaderMap, body: impl RequestBody) -> Result<KeyFields, Refusal> {
    let bytes = read(body, MAX_BYTES).await?;
    if bytes.is_empty() {
        return Ok(KeyFields::default());
    }
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let content_type = String::from_utf8_lossy(content_type);
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(JSON) {
        from_json(&bytes)
    } else if media_type.eq_ignore_ascii_case(FORM) {
        from_form(&bytes)
    } else if media_type.eq_ignore_ascii_case(MULTIPART) {
        // Boxed: the parser's state would otherwise be part of every request's.
        Box::pin(from_multipart(&content_type, &bytes)).await
    } else {
        Err(Refusal::UnsupportedMediaType(content_type.into_owned()))
    }
}

/// Reads a body of at most so many bytes into one buffer, so that it takes no more memory than it has bytes, however
/// many frames it comes in.
pub(super) async fn read(body: impl RequestBody, max_bytes: usize) -> Result<BytesMut, Refusal> {
    if body.is_end_stream() {
        return Ok(BytesMut::new());
    }
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(Refusal::BodyTooLarge(max_bytes));
    }
    timeout(MAX_TIME, collect(body, max_bytes)).await.unwrap_or(Err(Refusal::BodyTooSlow(MAX_TIME.as_secs())))
}

async fn collect(body: impl RequestBody, max_bytes: usize) -> Result<BytesMut, Refusal> {
    let mut body = pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|err| Refusal::BrokenBody(err.into().to_string()))?;
        // Trailers say nothing of a key.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.remaining() > max_bytes {
            return Err(Refusal::BodyTooLarge(max_bytes));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// The members that we look at, as they are written: a number's text is its value. Of a member that is there twice the
/// last counts, as in the original.
#[derive(Default)]
struct Members<'a> {
    key: Option<&'a RawValue>,
    value: Option<&'a RawValue>,
}

/// The name of a member.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Member {
    Key,
    Value,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(member) = map.next_key()? {
            let value = map.next_value()?;
            match member {
                Member::Key => members.key = Some(value),
                Member::Value => members.value = Some(value),
                Member::Other => {}
            }
        }
        Ok(members)
    }
}

fn from_json(bytes: &[u8]) -> Result<KeyFields, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|err| Refusal::InvalidJson(err.to_string()))?;
    let invalid = |err: serde_json::Error| Refusal::InvalidJson(err.to_string());
    let members: Members<'_> = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(err) => {
            let whole: &RawValue = serde_json::from_str(text).map_err(invalid)?;
            return Err(match kind(whole) {
                "object" => invalid(err),
                other => Refusal::NotAnObject(other),
            });
        }
    };
    let field = |raw: Option<&RawValue>| match raw {
        None => Ok(Field::Missing),
        Some(raw) => match kind(raw) {
            "null" => Ok(Field::Null),
            "string" => serde_json::from_str(raw.get()).map(Field::Text),
            "number" => Ok(Field::Text(raw.get().to_owned())),
            _ => Ok(Field::NotText),
        },
    };
    Ok(KeyFields { key: field(members.key).map_err(invalid)?, value: field(members.value).map_err(invalid)? })
}

/// What JSON calls a value of this kind.
fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

fn from_form(bytes: &[u8]) -> Result<KeyFields, Refusal> {
    let mut fields = KeyFields::default();
    for (name, text) in form_urlencoded::parse(bytes) {
        fields.put(&name, text.into_owned());
    }
    Ok(fields)
}

async fn from_multipart(content_type: &str, bytes: &[u8]) -> Result<KeyFields, Refusal> {
    let invalid = |err: multer::Error| Refusal::InvalidMultipart(err.to_string());
    let boundary = multer::parse_boundary(content_type).map_err(invalid)?;
    let mut parts = multer::Multipart::with_reader(bytes, boundary);
    let mut fields = KeyFields::default();
    while let Some(part) = parts.next_field().await.map_err(invalid)? {
        let name = part.name().unwrap_or_default().to_owned();
        let text = String::from_utf8_lossy(&part.bytes().await.map_err(invalid)?).into_owned();
        fields.put(&name, text);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::StatusCode;
    use hyper::body::Frame;

    use super::*;

    fn text(text: &str) -> Field {
        Field::Text(text.to_owned())
    }

    /// A body of which nothing comes.
    struct EmptyStalledBody;

    impl Body for EmptyStalledBody {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_no_body_longer_than_it_may_take() {
        let Err(refusal) = decode(&HeaderMap::new(), EmptyStalledBody).await else { panic!("it was read") };
        assert_eq!(refusal.to_string(), "The body took longer than 30 seconds.");
        assert_eq!(refusal.status(), StatusCode::REQUEST_TIMEOUT);
    }

    #[test]
    fn reads_the_members_of_a_json_object() {
        for (body, key, value) in [
            (r#"{"key":"a","value":"b"}"#, text("a"), text("b")),
            (r#" {"value":"\u00fc\n","key":""} "#, text(""), text("ü\n")),
            (
                r#"{"key":7,"value":123456789012345678901234567890}"#,
                text("7"),
                text("123456789012345678901234567890"),
            ),
            (r#"{"key":-3,"value":2.0}"#, text("-3"), text("2.0")),
            (r#"{"value":1e+100}"#, Field::Missing, text("1e+100")),
            (r#"{"key":null,"value":true}"#, Field::Null, Field::NotText),
            (r#"{"key":[],"value":{"a":1}}"#, Field::NotText, Field::NotText),
            (r#"{"Key":"a","x":{"key":"b"}}"#, Field::Missing, Field::Missing),
            (r#"{"key":"a","value":"1","key":"b","value":null}"#, text("b"), Field::Null),
            (r#"{"\u006bey":"a"}"#, text("a"), Field::Missing),
        ] {
            assert_eq!(from_json(body.as_bytes()).unwrap(), KeyFields { key, value }, "{body}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_json() {
        for body in ["{", "nonsense", " ", "{\"key\":\"a\"} x", "{'key':1}", "{\"key\":\"\\ud800\"}"] {
            assert!(matches!(from_json(body.as_bytes()), Err(Refusal::InvalidJson(_))), "{body}");
        }
        assert!(matches!(from_json(b"{\"key\":\"\xff\"}"), Err(Refusal::InvalidJson(_))));
        for (body, kind) in
            [("[]", "array"), ("\"x\"", "string"), ("5", "number"), ("null", "null"), ("true", "boolean")]
        {
            assert!(
                matches!(from_json(body.as_bytes()), Err(Refusal::NotAnObject(k)) if k == kind),
                "{body}"
            );
        }
    }

    #[test]
    fn survives_a_hundred_thousand_brackets() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let depth = 100_000;
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let _ = from_json(nested.as_bytes());
            let _ = from_json(format!("{{\"key\":{nested}}}").as_bytes());
            let _ = from_json(open.repeat(depth).as_bytes());
        }
    }

    #[test]
    fn reads_a_form() {
        let fields = from_form(b"key=sp&value=a+b%20c%26d&other=1").unwrap();
        assert_eq!(fields, KeyFields { key: text("sp"), value: text("a b c&d") });
        assert_eq!(from_form(b"key=").unwrap(), KeyFields { key: text(""), value: Field::Missing });
        assert_eq!(from_form(b"key=a&key=b").unwrap(), KeyFields { key: text("b"), value: Field::Missing });
    }

    #[tokio::test]
    async fn reads_multipart() {
        let content_type = "multipart/form-data; boundary=XX";
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na\r\n--XX\r\n\
            Content-Disposition: form-data; name=\"value\"\r\n\r\n1\r\n--XX--\r\n";
        let fields = from_multipart(content_type, body).await.unwrap();
        assert_eq!(fields, KeyFields { key: text("a"), value: text("1") });
        for (content_type, body) in [("multipart/form-data", &body[..]), (content_type, &body[..60])] {
            let outcome = from_multipart(content_type, body).await;
            assert!(matches!(outcome, Err(Refusal::InvalidMultipart(_))), "{outcome:?}");
        }
    }
}
