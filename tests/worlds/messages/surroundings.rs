//! What the mistakes are made with: services in order and out of order, proxies, and a pin.

use std::net::{SocketAddr, TcpListener};

use worlds::mock_server::{MockServer, Reply};
use worlds::service::Service;
use worlds::tls::Certified;

/// A token that a service asks for.
const TOKEN: &str = "0123456789abcdef-token";

/// Services, and the names by which the table calls what belongs to them.
pub(crate) struct Surroundings {
    names: Vec<(&'static str, String)>,
    /// A certificate that signs nothing here.
    pub(crate) other_certificate: String,
    pin: String,
    _services: Vec<Service>,
    _scripted: Vec<MockServer>,
    _silent: TcpListener,
    _token: tempfile::TempDir,
}

impl Surroundings {
    pub(crate) fn new() -> Self {
        let plain = Service::start();
        let mut secure = Service::with(&["--tls-self-signed"]);
        let fingerprint = secure.line_after("cvm_service_fingerprint=");
        let original = Service::with(&["--max-value-length", "1000"]);
        let dir = tempfile::TempDir::new().expect("a temporary directory can be made");
        let token = dir.path().join("token");
        std::fs::write(&token, TOKEN).expect("a file can be written");
        let token = token.to_str().expect("its name is plain").to_owned();
        let guarded = Service::with(&["--create-token-file", &token]);
        let pin = plain.api().new_pin();
        let strict_pin = original.api().new_pin();

        let html = MockServer::start(|_, _| Reply::of(200, "text/html", "<html>log in</html>"));
        let forbidden = MockServer::start(|_, _| Reply::of(403, "text/plain", "not for you"));
        let gateway = MockServer::start(|_, _| {
            Reply::json(404, &serde_json::json!({"message": "no Route matched with those values"}))
        });
        let elsewhere = MockServer::start(|_, _| {
            let headers = vec![("Location".to_owned(), "https://other.example.org/".to_owned())];
            Reply::Answer(301, worlds::http::Headers(headers), Vec::new())
        });
        let closing = MockServer::start(|_, _| Reply::Raw(Vec::new()));
        let mail = MockServer::start(|_, _| Reply::Raw(b"220 mail.example.org ESMTP\r\n".to_vec()));
        let huge = MockServer::start(|_, _| Reply::Flood(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), 8 << 20));
        let proxy_407 = MockServer::start(|_, _| Reply::status(407));
        let proxy_403 = MockServer::start(|_, _| Reply::status(403));
        let dripping = MockServer::start(|_, _| Reply::Drip(b"HTTP/1.1 200 OK\r\nX: y".to_vec()));
        let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let names = vec![
            ("plain", plain.address().to_string()),
            ("secure", secure.address().to_string()),
            ("guarded", guarded.address().to_string()),
            ("original", original.address().to_string()),
            ("fingerprint", fingerprint),
            ("pin", pin.clone()),
            ("strict_pin", strict_pin),
            ("html", html.address().to_string()),
            ("forbidden", forbidden.address().to_string()),
            ("gateway", gateway.address().to_string()),
            ("elsewhere", elsewhere.address().to_string()),
            ("closing", closing.address().to_string()),
            ("mail", mail.address().to_string()),
            ("huge", huge.address().to_string()),
            ("proxy_407", proxy_407.address().to_string()),
            ("proxy_403", proxy_403.address().to_string()),
            ("dripping", dripping.address().to_string()),
            ("silent", silent.local_addr().expect("it is bound").to_string()),
            ("closed", closed().to_string()),
            ("token_file", token),
            ("data", plain.data_dir().display().to_string()),
            ("long_value", "x".repeat(1001)),
        ];
        Self {
            names,
            other_certificate: Certified::new("pair.example.org").certificate,
            pin,
            _services: vec![plain, secure, guarded, original],
            _scripted: vec![
                html, forbidden, gateway, elsewhere, closing, mail, huge, proxy_407, proxy_403, dripping,
            ],
            _silent: silent,
            _token: dir,
        }
    }

    /// A text with the names filled in.
    pub(crate) fn fill(&self, text: &str) -> String {
        self.names
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    /// What no message may show.
    pub(crate) fn secrets(&self) -> [&str; 2] {
        [&self.pin, TOKEN]
    }
}

/// An address where nothing listens.
fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound")
}
