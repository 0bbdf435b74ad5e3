//! Sessions that clients resume, also after a restart of the service.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::Signal;
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConfig, HandshakeKind};
use tempfile::TempDir;
use worlds::service::Service;
use worlds::tls::{Certified, answers, connect};

/// A service with a certificate in files, and that certificate.
struct World {
    dir: TempDir,
    certified: Certified,
    service: Service,
}

impl World {
    fn new(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let certified = Certified::new("127.0.0.1");
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        certified.write(&certificate, &key);
        let flag = |path: &Path| path.to_str().expect("its name is plain").to_owned();
        let files = [flag(&certificate), flag(&key)];
        let options = [&["--tls-cert", &files[0], "--tls-key", &files[1]], options].concat();
        Self { certified, service: Service::with(&options), dir }
    }

    /// Asks over a new connection. Whether the client's last session was resumed; there is a next one now.
    fn resumes(&self, client: &Arc<ClientConfig>) -> bool {
        let mut connection = connect(client, self.service.address());
        assert!(answers(&mut connection));
        connection.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

#[test]
fn sessions_outlive_restarts_and_crashes() {
    let mut world = World::new(&[]);
    let client = world.certified.client(&[&TLS13]);
    assert!(!world.resumes(&client));
    assert!(world.resumes(&client));
    assert!(world.service.stop().success());
    world.service.resume();
    assert!(world.resumes(&client), "after a restart");
    world.service.kill();
    world.service.resume();
    assert!(world.resumes(&client), "after a crash");

    let keys = world.service.data_dir().join("tls-tickets.key");
    assert_eq!(fs::metadata(&keys).expect("they are kept").permissions().mode() & 0o777, 0o600);
    world.service.stop();
    fs::remove_file(keys).expect("it can be removed");
    world.service.resume();
    assert!(!world.resumes(&client), "without the keys");
}

/// With the key of its ticket, a session of TLS 1.2 could be read by those who recorded it.
#[test]
fn sessions_of_tls_1_2_end_with_the_process() {
    let mut world = World::new(&[]);
    let client = world.certified.client(&[&TLS12]);
    assert!(!world.resumes(&client));
    world.service.stop();
    world.service.resume();
    assert!(!world.resumes(&client));
}

#[test]
fn sessions_end_with_the_process_that_keeps_nothing() {
    let mut world = World::new(&["--in-memory"]);
    let client = world.certified.client(ALL_VERSIONS);
    assert!(!world.resumes(&client));
    assert!(world.resumes(&client));
    world.service.stop();
    world.service.resume();
    assert!(!world.resumes(&client));
}

/// A client that resumes a session does not look at the certificate.
#[test]
fn sessions_end_with_the_key_of_the_service() {
    let world = World::new(&[]);
    let client = world.certified.client(ALL_VERSIONS);
    assert!(!world.resumes(&client));
    let reload = |certified: &Certified, said: &str| {
        certified.write(&world.dir.path().join("cert.pem"), &world.dir.path().join("key.pem"));
        world.service.signal(Signal::SIGHUP);
        world.service.logs(said);
    };
    reload(&world.certified, "read again, with the same key");
    assert!(world.resumes(&client));
    reload(&Certified::new("127.0.0.1"), "read again, with ANOTHER key");
    assert!(!answers(&mut connect(&client, world.service.address())), "it took the other key");
}
