//! What requests and answers have in common: a first line, headers, and a body (RFC 9112 sections 2 to 7).

use std::io::{self, BufRead, Read, Write};

/// The headers of a message in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// All values of a header, joined as RFC 9110 section 5.3 allows; `None` when it is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let values: Vec<_> =
            self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Takes a header out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }
}

/// Everything before the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The request or status line.
    pub start: String,
    /// The headers.
    pub headers: Headers,
}

impl Head {
    /// The n-th word of the first line; empty when there is none.
    #[must_use]
    pub fn word(&self, n: usize) -> &str {
        self.start.split(' ').nth(n).unwrap_or_default()
    }
}

/// Reads up to the empty line; `None` when the peer has closed before the first byte.
///
/// # Errors
/// What the connection says; `UnexpectedEof` in the middle of a head.
pub fn read_head(from: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line)? == 0 {
            return if lines.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut lines = lines.into_iter();
    let start = lines.next().ok_or(io::ErrorKind::InvalidData)?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        (name.to_owned(), value.trim().to_owned())
    });
    Ok(Some(Head { start, headers: Headers(headers.collect()) }))
}

/// Reads a body as its headers frame it; where they do not, to the end of the connection (an answer) or not at all
/// (a request).
///
/// # Errors
/// What the connection says; `UnexpectedEof` when it ends before the body does.
pub fn read_body(from: &mut impl BufRead, headers: &Headers, is_answer: bool) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some() {
        while let size @ 1.. = read_chunk_size(from)? {
            read_exactly(from, size, &mut body)?;
            read_line(from)?;
        }
        while !read_line(from)?.is_empty() {}
    } else if let Some(length) = headers.get("content-length") {
        read_exactly(from, length.parse().map_err(|_| io::ErrorKind::InvalidData)?, &mut body)?;
    } else if is_answer {
        from.read_to_end(&mut body)?;
    }
    Ok(body)
}

fn read_chunk_size(from: &mut impl BufRead) -> io::Result<u64> {
    u64::from_str_radix(&read_line(from)?, 16).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match from.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn read_exactly(from: &mut impl BufRead, size: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = from.take(size).read_to_end(body)?;
    if read as u64 == size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Writes first line and headers.
///
/// # Errors
/// What the connection says.
pub fn write_head(to: &mut impl Write, head: &Head) -> io::Result<()> {
    let mut text = format!("{}\r\n", head.start);
    for (name, value) in &head.headers.0 {
        text += &format!("{name}: {value}\r\n");
    }
    to.write_all((text + "\r\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wire: &str, body: Result<&str, io::ErrorKind>) {
        let mut from = wire.as_bytes();
        let head = read_head(&mut from).unwrap().unwrap();
        let got = read_body(&mut from, &head.headers, true).map_err(|e| e.kind());
        assert_eq!(got, body.map(|b| b.as_bytes().to_vec()), "{wire}");
    }

    #[test]
    fn reads_a_body_as_it_is_framed() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", Ok("abc"));
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            Ok("abc"),
        );
        check("HTTP/1.1 200 OK\r\n\r\nto the end", Ok("to the end"));
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", Err(io::ErrorKind::UnexpectedEof));
    }

    #[test]
    fn tells_a_connection_that_said_nothing_from_one_that_broke_off() {
        assert_eq!(read_head(&mut &b""[..]).unwrap(), None);
        let broken = read_head(&mut &b"HTTP/1.1 200 OK\r\nContent-"[..]);
        assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn joins_the_values_of_a_header() {
        let headers = Headers(vec![("Allow".into(), "GET".into()), ("allow".into(), "PUT".into())]);
        assert_eq!(headers.get("ALLOW").as_deref(), Some("GET, PUT"));
        assert_eq!(headers.get("Vary"), None);
    }
}
