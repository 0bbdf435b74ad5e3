//! What a fuzzer throws at the way of a request. `docs/fuzzing.md` says how.
//!
//! An input is a few requests as they stand on the wire, but for the line ends of their heads, which are `\n`. A line
//! `>>>` is between two of them.

mod answer;
mod seeds;
mod service;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HOST;
use hyper::{HeaderMap, Request};

pub use seeds::seeds;

use service::FuzzedService;

/// The pin of the cluster that they are about: that of CernVM's documentation.
const PIN: &str = "enico1qq0oey";
/// What is between two requests.
const BETWEEN: &[u8] = b"\n>>>\n";
/// Most requests of an input: as many as it takes to make, change, rename and delete a few keys.
const MOST: usize = 16;

/// Asks a service, one request after the other.
///
/// # Panics
/// If an answer is not well-formed, is the service's fault, or does not go with what the store holds before and after;
/// or the access log would show the pin.
pub fn requests(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("it takes nothing of the system").block_on(async {
        let service = FuzzedService::new();
        for request in divided(input).take(MOST).filter_map(parsed) {
            service.ask(request).await;
        }
    });
}

fn divided(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let at = input.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        let request = &input[..at.unwrap_or(input.len())];
        match at {
            Some(at) => input = &input[at + BETWEEN.len()..],
            None => over = true,
        }
        Some(request)
    })
}

/// The request, if it is one that hyper would let through.
fn parsed(text: &[u8]) -> Option<Request<Full<Bytes>>> {
    let (head, body) = match text.windows(2).position(|window| window == b"\n\n") {
        Some(at) => (&text[..at], &text[at + 2..]),
        None => (text, &b""[..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let at = first.iter().position(|byte| *byte == b' ')?;
    let mut request = Request::builder().method(&first[..at]).uri(&first[at + 1..]);
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..at], line[at + 1..].trim_ascii());
    }
    // Nearly all that come have one, and the others are not looked at further.
    if request.headers_ref().is_some_and(|headers| !headers.contains_key(HOST)) {
        request = request.header(HOST, "pairing.example.org");
    }
    request.body(Full::from(body.to_vec())).ok()
}

/// Whether a request has the pin in it, elsewhere than in its path.
fn has_pin(method: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    let has = |text: &[u8]| text.windows(PIN.len()).any(|window| window == PIN.as_bytes());
    has(method.as_bytes()) || headers.values().any(|value| has(value.as_bytes())) || has(body)
}

#[cfg(test)]
mod tests {
    use hyper::body::Body;

    use super::*;

    #[test]
    fn hold_for_every_seed() {
        let seeds = seeds();
        assert!(seeds.len() > 300, "{}", seeds.len());
        for seed in &seeds {
            requests(seed);
        }
    }

    #[test]
    fn reads_requests() {
        let input = "GET /a?b\nAccept: x\n\n\n>>>\nPOST /c\n\nbody\n>>>";
        let read: Vec<_> = divided(input.as_bytes()).map(parsed).collect();
        assert_eq!(read.len(), 2);
        let first = read[0].as_ref().unwrap();
        assert_eq!((first.uri().path(), first.headers()["accept"].as_bytes()), ("/a", &b"x"[..]));
        assert_eq!(read[1].as_ref().unwrap().body().size_hint().exact(), Some(8));
        assert!(parsed(b"GET").is_none());
    }
}
