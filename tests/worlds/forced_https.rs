//! A real nginx that forces https, before the service: clusters come up through it with URLs in plain http and without
//! a scheme, with a certificate whose CA is in the machine's certificate store.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use worlds::fixtures;
use worlds::guest::{Finished, Guest};
use worlds::process::Process;
use worlds::service::Service;
use worlds::wait::until;
use worlds::{binaries, http};

/// An address of documentation (RFC 5737).
const MASTER: &str = "192.0.2.1";

/// nginx with a port that redirects to another, where it speaks TLS and passes on to a service.
struct Site {
    plain: SocketAddr,
    secure: SocketAddr,
    dir: TempDir,
    _service: Service,
    _nginx: Process,
}

impl Site {
    /// nginx answers what comes in the clear with this status.
    fn start(status: u16) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let service = Service::start();
        let (plain, secure) = (free(), free());
        write_certificates(&dir);
        let root = dir.path().display();
        let configuration = format!(
            "daemon off; master_process off; pid {root}/pid; error_log stderr error;
            events {{ worker_connections 64; }}
            http {{
                access_log {root}/access combined;
                client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
                uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
                server {{ listen {plain}; return {status} https://{secure}$request_uri; }}
                server {{
                    listen {secure} ssl;
                    ssl_certificate {root}/site.pem; ssl_certificate_key {root}/site.key;
                    location /pairing/ {{
                        proxy_pass {}/;
                        proxy_http_version 1.1; proxy_read_timeout 75s; proxy_buffering off;
                    }}
                }}
            }}",
            service.url()
        );
        fs::write(dir.path().join("nginx.conf"), configuration).expect("a file can be written");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "stderr"]).stdin(Stdio::null());
        let mut nginx = Process::start("nginx", &mut command);
        until("nginx answers", || {
            assert!(!nginx.has_ended(), "nginx has ended: {}", nginx.stderr());
            http::Request::new("GET", "/").send(plain).ok()
        });
        Self { plain, secure, dir, _service: service, _nginx: nginx }
    }

    fn url(&self) -> String {
        format!("http://{}/pairing", self.plain)
    }

    /// A command with the site's CA in the certificate store.
    fn command(&self, program: std::path::PathBuf) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("SSL_CERT_FILE", self.dir.path().join("store.pem")).stdin(Stdio::null());
        command
    }

    fn new_pin(&self) -> String {
        let mut command = self.command(binaries::server());
        let output = command.args(["pin", "--url", &self.url()]).output().expect("it can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn run(&self, guest: &Guest, args: &[&str]) -> Finished {
        let store = format!("SSL_CERT_FILE={}", self.dir.path().join("store.pem").display());
        guest.run_under(&["env", &store], args)
    }

    /// The requests that came in the clear: method and status.
    fn in_the_clear(&self, status: u16) -> Vec<String> {
        let log = fs::read_to_string(self.dir.path().join("access")).expect("nginx keeps a log");
        let redirected = log.lines().filter(|line| line.contains(&format!("\" {status} ")));
        redirected.filter_map(|line| Some(line.split('"').nth(1)?.split(' ').next()?.to_owned())).collect()
    }
}

/// A CA of the site, its certificate, and a certificate store that has the CA among others.
fn write_certificates(dir: &TempDir) {
    let mut params = CertificateParams::new(Vec::new()).expect("there are no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key can be made");
    let ca = params.self_signed(&key).expect("a certificate can be made").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key can be made");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("it is an address");
    let site = params.signed_by(&key, &issuer).expect("a certificate can be made").pem();
    let other = worlds::tls::Certified::new("other.example.org").certificate;
    for (name, text) in
        [("site.pem", site), ("site.key", key.serialize_pem()), ("store.pem", format!("{other}{ca}"))]
    {
        fs::write(dir.path().join(name), text).expect("a file can be written");
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound")
}

#[test]
fn a_cluster_comes_up_through_a_site_that_forces_https() {
    for status in [301, 302, 308] {
        let site = Site::start(status);
        let pin = site.new_pin();
        let url = site.url();
        let url = url.trim_start_matches("http://");
        let master = fixtures::with_settings(
            &fixtures::master(&pin, url),
            &[&format!("cvm_cluster_master_ip={MASTER}")],
        );
        let master = Guest::new("master", master);
        site.run(&master, &["contextualize"]).expect(0).says("asks for https://");
        site.run(&master, &["master-ready"]).expect(0);
        site.run(&master, &["publish", "token", "s3cret"]).expect(0);
        let slave = Guest::new("slave", fixtures::slave(&pin, url));
        site.run(&slave, &["contextualize"]).expect(0);
        assert!(slave.context().contains(&format!("my_master_ip={MASTER}\n")), "{}", slave.context());
        // A run asks once in the clear, whether the pin is known; only `pin` begins with a write.
        let methods = site.in_the_clear(status);
        assert_eq!(methods, ["GET", "POST", "GET", "GET", "GET", "GET"], "redirected with {status}");
    }
}

#[test]
fn the_certificate_store_alone_makes_the_site_trusted() {
    let site = Site::start(301);
    let url = format!("https://{}/pairing", site.secure);
    let pin = site.new_pin();
    let slave = Guest::new("slave", fixtures::slave(&pin, &url));
    slave.run(&["contextualize"]).expect(77).says("a CA that is not trusted");
    let guest = Guest::new(
        "slave",
        fixtures::with_settings(&fixtures::slave(&pin, &url), &["cvm_cluster_timeout=1"]),
    );
    // Trusted, so that it now waits for a master.
    site.run(&guest, &["contextualize"]).expect(75).says("the master is not ready");
}
