//! The baseline: hyper with no service around it. Every GET gets the same answer, which is given as a file; a GET of
//! `/wait` gets it after a POST of `/wake`, and that is answered 201 with an empty body. Any other POST gets the answer with
//! 201 once its body was read. Parsing and writing HTTP is all that it does, so the difference to the service is the cost of
//! the service itself.
//!
//!     bare_hyper ADDRESS ANSWER-FILE
//!
//! The file holds a whole HTTP answer; `content-length` and `date` are left to hyper, as the service leaves them.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;

struct Answer {
    headers: HeaderMap,
    body: Bytes,
    wake: Notify,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, file] = arguments.as_slice() else {
        return Err("usage: bare_hyper ADDRESS ANSWER-FILE".into());
    };
    let answer = Arc::new(Answer::read(&std::fs::read_to_string(file)?)?);
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let service = service_fn(|request| serve(Arc::clone(&answer), request));
            // A client that goes away is how a measurement ends.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn serve(answer: Arc<Answer>, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let mut response = Response::new(Full::new(answer.body.clone()));
    *response.headers_mut() = answer.headers.clone();
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/wake") => {
            answer.wake.notify_waiters();
            response = Response::new(Full::default());
            *response.status_mut() = StatusCode::CREATED;
        }
        (&Method::POST, _) => {
            request.into_body().collect().await?;
            *response.status_mut() = StatusCode::CREATED;
        }
        (_, "/wait") => answer.wake.notified().await,
        _ => {}
    }
    Ok(response)
}

impl Answer {
    fn read(text: &str) -> Result<Self, Box<dyn Error>> {
        let (head, body) = text.split_once("\r\n\r\n").ok_or("the answer has no end of its head")?;
        let mut headers = HeaderMap::new();
        for line in head.lines().skip(1) {
            let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
            let name = HeaderName::from_bytes(name.as_bytes())?;
            if name != "content-length" && name != "date" {
                headers.append(name, HeaderValue::from_str(value.trim())?);
            }
        }
        Ok(Self { headers, body: Bytes::copy_from_slice(body.as_bytes()), wake: Notify::new() })
    }
}
