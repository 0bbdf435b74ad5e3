//! Where a message ends in a stream of bytes, for the protocols that are compared. Just enough for that: the peers
//! are trusted, and nothing else is read from their answers than whether they agreed.

/// How a server frames its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// HTTP/1.1 with a length, chunks, or no body.
    Http,
    /// HTTP/1.1 of which the head and each chunk counts as a message (etcd's watch).
    HttpChunks,
    /// RESP2, redis' protocol.
    Resp,
}

/// A message at the head of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    /// How many bytes it has.
    pub(crate) length: usize,
    /// Whether it is an error in its protocol's terms (not 2xx, `-ERR`).
    pub(crate) refused: bool,
}

impl Framing {
    /// The first message, if it is all there.
    pub(crate) fn first(self, bytes: &[u8]) -> Option<Message> {
        match self {
            Self::Http => http(bytes),
            Self::HttpChunks if bytes.starts_with(b"HTTP/") => {
                let head = Head::read(bytes)?;
                Some(Message { length: head.length, refused: head.refused })
            }
            Self::HttpChunks => chunk(bytes).map(|length| Message { length, refused: false }),
            Self::Resp => resp(bytes).map(|length| Message { length, refused: bytes.first() == Some(&b'-') }),
        }
    }
}

struct Head {
    length: usize,
    refused: bool,
    body: Body,
}

enum Body {
    Length(usize),
    Chunks,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let length = find(bytes, b"\r\n\r\n")? + 4;
        let mut lines = bytes[..length - 4].split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
        let refused = lines.next()?.get(9) != Some(&b'2');
        let mut body = Body::Length(0);
        for line in lines {
            if let Some(value) = value_of(line, b"content-length:") {
                body = Body::Length(number(value, 10)?);
            } else if value_of(line, b"transfer-encoding:").is_some() {
                body = Body::Chunks;
            }
        }
        Some(Self { length, refused, body })
    }
}

fn http(bytes: &[u8]) -> Option<Message> {
    let head = Head::read(bytes)?;
    let mut length = head.length;
    match head.body {
        Body::Length(body) => length += body,
        Body::Chunks => loop {
            let chunk = chunk(&bytes[length..])?;
            let last = bytes[length] == b'0';
            length += chunk;
            if last {
                break;
            }
        },
    }
    (bytes.len() >= length).then_some(Message { length, refused: head.refused })
}

fn chunk(bytes: &[u8]) -> Option<usize> {
    let line = find(bytes, b"\r\n")?;
    let length = line + 2 + number(&bytes[..line], 16)? + 2;
    (bytes.len() >= length).then_some(length)
}

fn resp(bytes: &[u8]) -> Option<usize> {
    let line = find(bytes, b"\r\n")?;
    let mut length = line + 2;
    match bytes[0] {
        b'$' => length += number(&bytes[1..line], 10).map_or(0, |n| n + 2),
        b'*' => {
            for _ in 0..number(&bytes[1..line], 10)? {
                length += resp(bytes.get(length..)?)?;
            }
        }
        _ => {}
    }
    (bytes.len() >= length).then_some(length)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = line.get(..name.len())?;
    start.eq_ignore_ascii_case(name).then(|| line[name.len()..].trim_ascii())
}

fn number(digits: &[u8], radix: u32) -> Option<usize> {
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message is found only once it is whole, and what follows it is left alone.
    fn check(framing: Framing, message: &str, refused: bool) {
        let found = Some(Message { length: message.len(), refused });
        assert_eq!(framing.first(format!("{message}more").as_bytes()), found, "{message}");
        for cut in 0..message.len() {
            assert_eq!(framing.first(&message.as_bytes()[..cut]), None, "{message} cut at {cut}");
        }
    }

    #[test]
    fn finds_the_end_of_a_message() {
        check(Framing::Http, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\n\r\nabc", false);
        check(Framing::Http, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", true);
        check(Framing::Http, "HTTP/1.1 204 No Content\r\n\r\n", false);
        check(
            Framing::Http,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            false,
        );
        check(Framing::HttpChunks, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false);
        check(Framing::HttpChunks, "a\r\n0123456789\r\n", false);
        check(Framing::Resp, "+OK\r\n", false);
        check(Framing::Resp, "-ERR no\r\n", true);
        check(Framing::Resp, "$3\r\nabc\r\n", false);
        check(Framing::Resp, "$-1\r\n", false);
        check(Framing::Resp, "*2\r\n$1\r\na\r\n:12\r\n", false);
    }
}
