//! Waits and events over TLS: those who wait are told, and come back to a service that was restarted in between.

use std::io::{Read as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use worlds::fixtures;
use worlds::guest::Guest;
use worlds::service::Service;
use worlds::tls::{Certified, Connection};

/// An address of documentation (RFC 5737).
const MASTER: &str = "192.0.2.1";

/// What a pin's stream of events tells.
struct Events(Connection);

impl Events {
    fn of(service: &Service, certified: &Certified, pin: &str) -> Self {
        let mut connection = certified.connect(service.address());
        let request = format!("GET /api/v1/clusters/{pin}/events HTTP/1.1\r\nHost: x\r\n\r\n");
        connection.write_all(request.as_bytes()).expect("it shakes hands and listens");
        Self(connection)
    }

    /// Listens until these words come.
    fn tell(&mut self, words: &str) {
        let mut said = Vec::new();
        let mut byte = [0];
        while !said.ends_with(words.as_bytes()) {
            let read = self.0.read(&mut byte).unwrap_or_default();
            assert_eq!(read, 1, "{words} did not come, but {}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
    }
}

#[test]
fn those_who_wait_over_tls_are_told_also_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let certified = Certified::new("127.0.0.1");
    certified.write(&certificate, &key);
    let flag = |path: &Path| path.to_str().expect("its name is plain").to_owned();
    let mut service = Service::with(&["--tls-cert", &flag(&certificate), "--tls-key", &flag(&key)]);
    let pin = crate::guests::pin(&service, ["--ca", &flag(&certificate)]);
    let settings = [
        format!("cvm_service_ca={}", BASE64.encode(&certified.certificate)),
        format!("cvm_cluster_master_ip={MASTER}"),
    ];
    let settings = settings.each_ref().map(String::as_str);
    let guest = |name, context: String| Guest::new(name, fixtures::with_settings(&context, &settings));
    let master = guest("master", fixtures::master(&pin, &service.url()));
    let slave = guest("slave", fixtures::slave(&pin, &service.url()));

    let waiting = slave.start(&["contextualize"]);
    let getting = slave.start(&["get", "rack", "--wait"]);
    Events::of(&service, &certified, &pin).tell("\"waiting\":2");
    // In good order: the waits are answered with 503, and connections are refused for a moment.
    assert!(service.stop().success());
    service.resume();
    let mut events = Events::of(&service, &certified, &pin);
    events.tell("\"waiting\":2");

    master.run(&["contextualize"]).expect(0);
    master.run(&["publish", "rack", "7"]).expect(0);
    master.run(&["master-ready"]).expect(0);
    assert_eq!(getting.finish().expect(0).stdout.trim_end(), "7");
    waiting.finish().expect(0);
    assert!(slave.context().contains(&format!("my_master_ip={MASTER}\n")), "{}", slave.context());
    events.tell("\"waiting\":0");
}
