//! HTTP/1.1 requests as the load client sends them, and a blocking client for what is prepared by hand.

use std::io::Write;

use crate::error::{Error, Result, WithContext};
use crate::load::Exchange;
use crate::load::connection::Target;
use crate::load::wire::Framing;
use crate::tls::{self, Stream};

/// A request with a `Host`, further header lines (each ended by CRLF) and a body.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let mut request = Vec::new();
    write_request(&mut request, method, path, headers, body);
    request
}

/// The same, into a buffer.
pub(crate) fn write_request(into: &mut Vec<u8>, method: &str, path: &str, headers: &str, body: &str) {
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    write!(into, "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}{length}\r\n{body}")
        .expect("a Vec takes everything");
}

/// A GET as an agent sends it.
pub(crate) fn get(path: &str) -> Exchange {
    Exchange { request: request("GET", path, "Accept: text/plain\r\n", ""), framing: Framing::Http }
}

/// A POST of JSON.
pub(crate) fn post(path: &str, body: &str) -> Exchange {
    let headers = "Content-Type: application/json\r\n";
    Exchange { request: request("POST", path, headers, body), framing: Framing::Http }
}

/// Asks over a connection of its own and gives the whole answer, head and body.
pub(crate) fn ask(target: &Target, exchange: &Exchange) -> Result<String> {
    ask_over(&mut *tls::connect(target)?, exchange)
}

/// Asks over a connection that stays open.
pub(crate) fn ask_over(stream: &mut dyn Stream, exchange: &Exchange) -> Result<String> {
    stream.write_all(&exchange.request).context("send a request")?;
    answer_over(stream, exchange)
}

/// Reads the answer to a request that was sent.
pub(crate) fn answer_over(stream: &mut dyn Stream, exchange: &Exchange) -> Result<String> {
    let mut answer = Vec::new();
    let mut scratch = [0; 4096];
    loop {
        if let Some(message) = exchange.framing.first(&answer) {
            answer.truncate(message.length);
            let answer = String::from_utf8_lossy(&answer).into_owned();
            if message.refused {
                return Err(Error::unexpected("the server", format!("answered {answer:?}")));
            }
            return Ok(answer);
        }
        let got = stream.read(&mut scratch).context("read an answer")?;
        if got == 0 {
            return Err(Error::unexpected("the server", "closed the connection without an answer"));
        }
        answer.extend_from_slice(&scratch[..got]);
    }
}
