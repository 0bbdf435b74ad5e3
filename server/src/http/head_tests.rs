//! HEAD on every route, through hyper: the headers of GET, and no body, which is not even made.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::{AnswerBody, StreamCut, routes};
use crate::store::NodeClass;
use crate::testing::Harness;

/// What came back: the status, the headers, and whether a body; and how many pieces of a body were made for it.
#[derive(Debug, PartialEq)]
struct Came {
    status: String,
    headers: BTreeSet<String>,
    has_body: bool,
    pieces: usize,
}

/// A body that counts the pieces which are made of it.
struct Counted {
    body: AnswerBody,
    pieces: Arc<AtomicUsize>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = StreamCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamCut>>> {
        self.pieces.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn ask(world: &Harness, method: &str, path: &str, accept: &str) -> Came {
    let pieces = Arc::new(AtomicUsize::new(0));
    let (mut client, server) = duplex(1 << 20);
    let answer = service_fn(async |request| {
        let answer = super::answer(
            &world.service,
            Ipv4Addr::LOCALHOST.into(),
            request.into_parts(),
            async || Ok(()),
            |answer| answer,
        )
        .await;
        Ok::<_, Infallible>(answer.map(|body| Counted { body, pieces: pieces.clone() }))
    });
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let serve = http1::Builder::new().serve_connection(TokioIo::new(server), answer);
    let is_stream = method == "GET" && accept == "text/event-stream";
    tokio::select! {
        served = serve => served.unwrap(),
        // A stream of events does not end.
        () = async {
            while !(is_stream && read.windows(4).any(|end| end == b"\r\n\r\n")) {
                if client.read_buf(&mut read).await.unwrap() == 0 {
                    std::future::pending::<()>().await;
                }
            }
        } => {}
    }
    client.read_to_end(&mut read).await.unwrap();
    let text = String::from_utf8(read).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines().map(str::to_owned);
    let status = lines.next().unwrap();
    // How GET sends a body whose length is not known says nothing of what it is (RFC 9112, section 6.1).
    let left_out = |line: &str| line.starts_with("date: ") || line.starts_with("transfer-encoding: ");
    let headers = lines.filter(|line| !left_out(line)).collect();
    Came { status, headers, has_body: !body.is_empty(), pieces: pieces.load(Ordering::Relaxed) }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_makes_no_body() {
    let world = Harness::new().await;
    world.set("short", "1").await;
    world.set("long", &"☃".repeat(10_000)).await;
    let node = |id| world.service.store.put_node(&world.pin, id, "{}".to_owned(), NodeClass::Sealed, None);
    node("n").await.unwrap();
    let mut compared = 0;
    for (route, allowed) in routes::all() {
        if !allowed.contains("HEAD") {
            continue;
        }
        let path = route.path.replace("{pin}", world.pin.reveal());
        let cases = match route.path {
            path if path.ends_with("/keys/{key}") => ["short", "long", "unknown"]
                .map(|key| ["text/plain", "application/json"].map(|accept| (Some(key), accept)))
                .concat(),
            path if path.ends_with("/events") => vec![(None, "text/event-stream")],
            _ => vec![(None, "*/*"), (None, "image/png")],
        };
        for (key, accept) in cases {
            let path = path.replace("{key}", key.unwrap_or_default());
            let get = ask(&world, "GET", &path, accept).await;
            let head = ask(&world, "HEAD", &path, accept).await;
            assert_eq!((&head.status, &head.headers), (&get.status, &get.headers), "{path} {accept}");
            assert!(!head.has_body && head.pieces == 0, "{path} {accept}: {head:?}");
            let length = head.headers.iter().any(|line| line.starts_with("content-length: "));
            // A long list is put together as it is sent.
            let has_length = !path.ends_with("/keys") && !path.ends_with("/events");
            let is_escaped = key == Some("long") && accept == "application/json";
            assert_eq!(
                length,
                has_length && !is_escaped || accept == "image/png",
                "{path} {accept}: {head:?}"
            );
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
    assert_eq!(world.service.hub.waiters(), 0, "a HEAD of the events still watches");
    // An unknown path and an unknown pin.
    for path in
        ["/nowhere", "/api/v1/nowhere", "/api/v1/clusters/zzzzzzzzzzzz", "/api/v1/clusters/zzzzzzzzzzzz/keys"]
    {
        let (get, head) = (ask(&world, "GET", path, "*/*").await, ask(&world, "HEAD", path, "*/*").await);
        assert_eq!((&head.status, &head.headers), (&get.status, &get.headers), "{path}");
        assert!(!head.has_body && head.pieces == 0, "{path}: {head:?}");
    }
}
