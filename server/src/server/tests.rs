use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;

use protocol::url::ServiceUrl;

use super::*;
use crate::config::Storage;
use crate::storage::over_budget;
use client::Pins;
use protocol::{Fingerprint, Trust};

#[tokio::test]
async fn comes_up_with_a_store_that_is_larger_than_its_budget() {
    let dir = tempfile::tempdir().unwrap();
    let config = |memory_budget| Config {
        storage: Storage::Directory(dir.path().to_owned()),
        memory_budget,
        ..Config::default()
    };
    let value = "v".repeat(60_000);
    let server = Server::new(config(64 << 20)).await.unwrap();
    let mut pins = Vec::new();
    for _ in 0..10 {
        let pin = server.service.store.create_cluster().await.unwrap().pin;
        for key in 0..16 {
            server.service.store.create_key(&pin, &key.to_string(), &value).await.unwrap();
        }
        pins.push(pin);
    }
    drop(server);
    let server = Server::new(config(crate::budget::SMALLEST)).await.unwrap();
    let store = &server.service.store;
    let limit = budget_bytes(&server.service.budget, Purpose::Stored);
    assert!(over_budget(store.stats().bytes, limit).is_some_and(|said| said.contains("8 MiB")));
    for pin in &pins {
        assert_eq!(store.key(pin, "15").await.unwrap().value, value);
    }
    assert_eq!(store.create_cluster().await, Err(pairing_core::Refused::OutOfMemory));
    for pin in &pins[..4] {
        store.delete_cluster(pin).await.unwrap();
    }
    store.create_cluster().await.unwrap();
    assert_eq!(over_budget(store.stats().bytes, limit), None);
}

/// A server on a port of its own.
struct Running {
    address: SocketAddr,
    service: Arc<Service>,
    fingerprint: Option<String>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), Error>>,
}

impl Running {
    async fn start(tls: Option<Tls>) -> Self {
        let server = Server::new(Config { tls, ..Config::default() }).await.unwrap();
        let listener = listen::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let service = server.service.clone();
        let fingerprint = server.certificate().and_then(Certificate::fingerprint);
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        let served = tokio::spawn(server.serve(vec![listener], shutdown));
        Self { address, service, fingerprint, stop, served }
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn makes_pins_over_tls_for_those_who_know_the_key() {
    let running = Running::start(Some(Tls::SelfSigned { key: None })).await;
    let url = format!("https://{}", running.address);
    let create = async |trust: Trust| {
        let url = ServiceUrl::parse(&url, true).unwrap();
        let create = move || Pins::new(url, &trust, None).unwrap().create();
        tokio::task::spawn_blocking(create).await.unwrap()
    };
    let Fingerprint(digest) = running.fingerprint.clone().unwrap().parse().unwrap();
    assert!(create(Trust::Fingerprint(digest)).await.unwrap().looks_made());
    for trust in [Trust::Fingerprint([0; 32]), Trust::WebPki] {
        assert_eq!(create(trust).await.unwrap_err().status(), protocol::error::Status::Refused);
    }
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn cuts_off_those_who_never_finish_a_request() {
    let running = Running::start(None).await;
    let begun = Instant::now();
    for beginning in ["", "GET / HTTP/1.1\r\nHost: x\r\nX: "] {
        let mut slow = TcpStream::connect(running.address).await.unwrap();
        slow.write_all(beginning.as_bytes()).await.unwrap();
        assert_eq!(slow.read(&mut [0]).await.unwrap(), 0);
    }
    // Two of them, one after the other; the watch looks every second.
    assert!((19..=24).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn cuts_off_those_who_do_not_come_to_an_end_of_the_handshake() {
    let running = Running::start(Some(Tls::SelfSigned { key: None })).await;
    let begun = Instant::now();
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(slow.read(&mut [0]).await.unwrap(), 0);
    assert!((14..=17).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    running.end().await;
}

#[tokio::test]
async fn ends_in_good_order() {
    let running = Running::start(None).await;
    let pin = running.service.store.create_cluster().await.unwrap().pin;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    let mut waiting = TcpStream::connect(running.address).await.unwrap();
    let path = format!("/api/v1/clusters/{}/keys/master_ip", pin.reveal());
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nPrefer: wait=50\r\n\r\n");
    waiting.write_all(request.as_bytes()).await.unwrap();
    while running.service.hub.waiters() == 0 {
        yield_now().await;
    }
    let address = running.address;
    running.end().await;

    let mut answer = String::new();
    waiting.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    for header in ["retry-after: 1\r\n", "connection: close\r\n", "preference-applied: wait=50\r\n"] {
        assert!(answer.contains(header), "{answer}");
    }
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    TcpStream::connect(address).await.unwrap_err();
}
