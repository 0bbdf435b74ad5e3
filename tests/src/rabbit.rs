//! A RabbitMQ of a test's own, on loopback: its node, its port mapper and its files go with the value.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::etcd::free;
use crate::process::Process;
use crate::tls::Certified;
use crate::wait::until;

/// Where Debian has the server without the wrapper that changes the user.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A user of RabbitMQ.
#[derive(Debug)]
pub struct User {
    /// Its name.
    pub name: &'static str,
    /// The hash of its password: base64 of a salt of four bytes, and SHA-256 of salt and password.
    pub password_hash: &'static str,
    /// What it may configure, write and read: a pattern each.
    pub permissions: [&'static str; 3],
}

/// A RabbitMQ.
#[derive(Debug)]
pub struct Rabbit {
    dir: TempDir,
    amqp: SocketAddr,
    amqps: SocketAddr,
    ports: [SocketAddr; 2],
    _mapper: Process,
    node: Option<Process>,
}

impl Rabbit {
    /// Whether it is installed. Where tests are not run by hand, it must be.
    ///
    /// # Panics
    /// When it is not, though the environment says CI.
    #[must_use]
    pub fn is_installed() -> bool {
        let is_there = Path::new(SERVER).is_file();
        assert!(is_there || std::env::var_os("CI").is_none(), "rabbitmq-server is not installed");
        if !is_there {
            eprintln!("left out: rabbitmq-server is not installed");
        }
        is_there
    }

    /// One with these users.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(users: &[User]) -> Self {
        let dir = TempDir::with_prefix("rabbit-").expect("a temporary directory can be made");
        let (amqp, amqps, ports) = (free(), free(), [free(), free()]);
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("home")).expect("a directory can be made");
        Certified::new("127.0.0.1").write(&path("certificate.pem"), &path("key.pem"));
        let permissions = users.iter().map(|user| {
            let [configure, write, read] = user.permissions;
            serde_json::json!({ "user": user.name, "vhost": "/", "configure": configure, "write": write, "read": read })
        });
        let users = users.iter().map(|user| {
            serde_json::json!({
                "name": user.name, "password_hash": user.password_hash,
                "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "",
            })
        });
        let definitions = serde_json::json!({
            "users": users.collect::<Vec<_>>(), "vhosts": [{ "name": "/" }],
            "permissions": permissions.collect::<Vec<_>>(),
        });
        let at = |name: &str| path(name).display().to_string();
        let settings = format!(
            "listeners.tcp.1 = {amqp}\nlisteners.ssl.1 = {amqps}\n\
             ssl_options.cacertfile = {certificate}\nssl_options.certfile = {certificate}\n\
             ssl_options.keyfile = {key}\nssl_options.verify = verify_none\n\
             load_definitions = {definitions}\nlog.console = true\nlog.console.level = warning\nlog.file = false\n",
            certificate = at("certificate.pem"),
            key = at("key.pem"),
            definitions = at("definitions.json"),
        );
        let files = [
            ("definitions.json", definitions.to_string()),
            ("rabbitmq.conf", settings),
            ("plugins", "[].\n".into()),
        ];
        for (name, text) in files {
            std::fs::write(path(name), text).expect("a file can be written");
        }
        // In the foreground, so that it ends with the test; the node would leave one behind.
        let mut mapper = Command::new("epmd");
        mapper.env("ERL_EPMD_PORT", ports[0].port().to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        let mapper = Process::start("epmd", mapper.stdin(Stdio::null()));
        let mut rabbit = Self { dir, amqp, amqps, ports, _mapper: mapper, node: None };
        rabbit.resume();
        rabbit
    }

    /// Starts its node again.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn resume(&mut self) {
        let at = |name: &str| self.dir.path().join(name);
        let mut command = Command::new(SERVER);
        command.process_group(0).stdin(Stdio::null()).env("HOME", at("home"));
        command.env("ERL_EPMD_PORT", self.ports[0].port().to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODENAME", "test@localhost").env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
        command.env("RABBITMQ_DIST_PORT", self.ports[1].port().to_string());
        command.env("RABBITMQ_MNESIA_BASE", at("data")).env("RABBITMQ_LOG_BASE", at("data"));
        command.env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"));
        // One scheduler that sleeps when it has nothing to do.
        let arguments = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none \
                         -kernel inet_dist_use_interface {127,0,0,1}";
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", arguments);
        let mut node = Process::start("rabbitmq", &mut command);
        until("RabbitMQ listens", || {
            assert!(!node.has_ended(), "RabbitMQ ended");
            [self.amqp, self.amqps].iter().all(|address| TcpStream::connect(address).is_ok()).then_some(())
        });
        self.node = Some(node);
    }

    /// Ends its node as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut node) = self.node.take() {
            // The script has started the node as a child, in the group of its own.
            let group = i32::try_from(node.id()).expect("a pid fits");
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            node.wait();
        }
    }

    /// Where it speaks AMQP.
    #[must_use]
    pub fn amqp(&self) -> SocketAddr {
        self.amqp
    }

    /// Where it speaks AMQP over TLS.
    #[must_use]
    pub fn amqps(&self) -> SocketAddr {
        self.amqps
    }

    /// Its certificate, which is its own authority.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("certificate.pem")
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        if let Some(node) = &self.node {
            let group = i32::try_from(node.id()).expect("a pid fits");
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}
