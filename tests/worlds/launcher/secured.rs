//! An etcd with TLS and users: who is let in, and what the others are told, at the start and later.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tempfile::TempDir;
use worlds::etcd::{Member, is_installed};
use worlds::http::{Request, Response};
use worlds::tls::Certified;
use worlds::wait::until;

use crate::api::{Api, request};
use crate::cloud::Manners;
use crate::cluster::{boot, stack};
use crate::home::Done;
use crate::site::{Moment, Site};

type Etcd = Arc<Mutex<Member>>;

fn lock(etcd: &Etcd) -> MutexGuard<'_, Member> {
    etcd.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder with certificates.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        Self(TempDir::with_prefix("certificates-").expect("a temporary directory can be made"))
    }

    /// A certificate for this host, which signs itself, and its key.
    fn make(&self, name: &str, host: &str) -> [String; 2] {
        let files = ["crt", "key"].map(|end| self.0.path().join(format!("{name}.{end}")));
        let [certificate, key] = &files;
        Certified::new(host).write(Path::new(certificate), Path::new(key));
        files.map(|path| path.display().to_string())
    }
}

/// How a command must end: with a sentence that has these words, and a next step that has those.
#[track_caller]
fn refused(done: &Done, status: i32, what: &str, next: &str) {
    let _ = done.expect(status, what);
    let said: Vec<_> =
        done.stderr.lines().filter(|line| !line.contains("etcd does not answer; trying")).collect();
    let [sentence, advice] = said[..] else { panic!("not one sentence and what to do: {}", done.stderr) };
    assert!(sentence.contains(what) && advice.starts_with("  next: ") && advice.contains(next), "{said:?}");
}

#[test]
fn with_tls_only_the_right_authority_and_the_right_certificate_do() {
    if !is_installed() {
        return;
    }
    let files = Certificates::new();
    let [certificate, key] = files.make("etcd", "127.0.0.1");
    let [own, own_key] = files.make("launcher", "launcher");
    let [wrong, wrong_key] = files.make("wrong", "127.0.0.1");
    let tls = ["--cert-file", &certificate, "--key-file", &key];
    let asks = ["--client-cert-auth", "--trusted-ca-file", &own];
    let (asking, other, clear) =
        (Member::with_tls(&[&tls[..], &asks].concat()), Member::with_tls(&tls), Member::start(&[]));
    let site = Site::with((), Vec::new(), Manners::default(), || ());
    let list = |url: &str, flags: &[&str]| {
        site.run(0, &[&["list", "--etcd", url, "--etcd-timeout", "2s"], flags].concat())
    };
    let (url, right) =
        (asking.url(), ["--etcd-ca", &certificate, "--etcd-cert", &own, "--etcd-key", &own_key]);
    list(&url, &right).expect(0, "no clusters");
    list(&other.url(), &right[..2]).expect(0, "no clusters");

    let tls_fails = |what: &str| format!("no TLS with etcd at {url}: {what}");
    for (url, flags, status, what, next) in [
        (&url, &[][..], 64, "takes --etcd-ca".to_owned(), "--etcd-ca"),
        (&url, &["--etcd-ca", &wrong], 77, tls_fails("invalid peer certificate: "), "--etcd-ca"),
        (&url, &["--etcd-ca", &key], 64, format!("{key}: it is not the PEM"), "--etcd-ca"),
        (&url, &["--etcd-ca", "/nowhere"], 74, "cannot read /nowhere: ".to_owned(), "look at the file"),
        // A name that is not in the certificate.
        (
            &url.replace("127.0.0.1", "localhost"),
            &right,
            77,
            "certificate not valid for name \"localhost\"".to_owned(),
            "--etcd-ca",
        ),
        (
            &url,
            &["--etcd-ca", &certificate, "--etcd-cert", &own, "--etcd-key", &wrong_key],
            64,
            format!("{wrong_key}: it is not the key of the certificate in {own}"),
            "--etcd-key",
        ),
        (
            &format!("{url},{}", clear.url()),
            &right,
            64,
            "is https, or http, where".to_owned(),
            "all with https",
        ),
    ] {
        refused(&list(url, flags), status, &what, next);
    }
    // etcd says so or closes the connection, and it depends on what is read first: without a certificate, with one of another
    // authority, and with TLS on one side alone.
    let foreign = ["--etcd-ca", &certificate, "--etcd-cert", &wrong, "--etcd-key", &wrong_key];
    for (url, flags) in [
        (&url, &right[..2]),
        (&url, &foreign),
        (&url.replace("https", "http"), &[]),
        (&clear.url().replace("http", "https"), &right),
    ] {
        let done = list(url, flags);
        assert!([69, 77].contains(&done.status), "{}", done.stderr);
        refused(&done, done.status, url, "--etcd-cert");
    }
}

/// Who may change users, once users are asked for.
const ROOT: [&str; 2] = ["--user", "root:root"];

/// A site whose etcd has TLS and a user for the launchers. The moment of a test kills etcd.
struct Secured {
    site: Site<Etcd>,
    options: Vec<String>,
    certificate: String,
    _files: Certificates,
}

impl Secured {
    /// `None` where there is no etcd.
    fn new() -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let files = Certificates::new();
        let [certificate, key] = files.make("etcd", "127.0.0.1");
        let options = ["--cert-file", &certificate, "--key-file", &key].map(str::to_owned);
        let member = Member::with_tls(&options.each_ref().map(String::as_str));
        let password = files.0.path().join("password").display().to_string();
        std::fs::write(&password, "right\n").expect("it can be written");
        let url = member.url();
        let named = ["--etcd", &url, "--etcd-ca", &certificate, "--etcd-user", "launcher"];
        let named = named.into_iter().chain(["--etcd-password-file", &password]).map(str::to_owned).collect();
        let etcd = Arc::new(Mutex::new(member));
        let killed = Arc::clone(&etcd);
        let site = Site::with(etcd, named, Manners::default(), move || lock(&killed).kill());
        let secured = Self { site, options: options.to_vec(), certificate, _files: files };
        for command in [
            &["role", "add", "root"][..],
            &["user", "add", "root:root"],
            &["user", "grant-role", "root", "root"],
            &["role", "add", "launcher"],
            &["role", "grant-permission", "launcher", "readwrite", "--prefix", "/cernvm-launches/"],
        ] {
            secured.etcdctl(&[], command);
        }
        secured.user(&[], "right");
        secured.etcdctl(&[], &["auth", "enable"]);
        Some(secured)
    }

    fn etcdctl(&self, user: &[&str], command: &[&str]) -> String {
        lock(&self.site.etcd).etcdctl(&[&["--cacert", &self.certificate][..], user, command].concat())
    }

    /// Makes the launchers' user, with this password.
    fn user(&self, user: &[&str], password: &str) {
        self.etcdctl(user, &["user", "add", &format!("launcher:{password}")]);
        self.etcdctl(user, &["user", "grant-role", "launcher", "launcher"]);
    }

    fn start_again(&self) {
        let options: Vec<_> = self.options.iter().map(String::as_str).collect();
        lock(&self.site.etcd).start_again(&options);
    }
}

fn list(api: &Api) -> Response {
    api.ask("GET", "/clusters/", None)
}

fn is_readable(api: &Api, word: &str) -> Option<()> {
    let metrics = Request::new("GET", "/metrics").send(api.address).expect("it answers").text();
    metrics.contains(&format!("cluster_launcher_launches_readable {word}\n")).then_some(())
}

/// etcd forgets the tokens of its users when it ends.
#[test]
fn a_launch_goes_on_when_an_etcd_with_users_is_killed_and_started() {
    let Some(secured) = Secured::new() else { return };
    let site = &secured.site;
    let (mut one, mut other) = (site.serve(0), site.serve(1));
    site.at(Moment::Stack);
    assert_eq!(one.ask("POST", "/clusters/", Some(&request(&site.cloud))).status, 201);
    let made = stack(&site.cloud);
    assert_eq!(list(&other).status, 503);
    secured.start_again();
    for api in [&one, &other] {
        until("it is shown", || {
            let list = list(api);
            assert!([200, 503].contains(&list.status), "{}", list.text());
            (list.status == 200 && list.json()[0]["id"] == json!(made.id)).then_some(())
        });
    }
    boot(&made);
    until("it is ready", || (other.show("lab")["state"] == "ready").then_some(()));
    assert_eq!(other.ask("DELETE", "/clusters/lab", None).status, 204);
    one.stop();
    other.stop();
}

#[test]
fn a_user_that_etcd_no_longer_lets_in_is_named_and_used_again_when_it_does() {
    let Some(secured) = Secured::new() else { return };
    let site = &secured.site;
    let mut api = site.serve(0);
    assert_eq!(api.ask("POST", "/clusters/", Some(&request(&site.cloud))).status, 201);
    let made = stack(&site.cloud);
    until("it joins", || (api.show("lab")["state"] == "joining").then_some(()));

    secured.etcdctl(&ROOT, &["user", "delete", "launcher"]);
    secured.user(&ROOT, "other");
    until("it is refused", || is_readable(&api, "0"));
    let refused = list(&api);
    let error = refused.json()["errors"][0].clone();
    assert_eq!((refused.status, &error["title"]), (503, &json!("Service Unavailable")), "{error}");
    assert!(error["detail"].as_str().is_some_and(|detail| detail.contains("etcd, which refuses")), "{error}");
    let mut second = request(&site.cloud);
    second["cluster"]["name"] = json!("second");
    assert_eq!(api.ask("POST", "/clusters/", Some(&second)).status, 503);
    assert_eq!((site.cloud.created(), site.pins_made()), (1, 1));
    let log = api.process.stderr();
    assert!(log.contains("refuses the user launcher") && log.contains("--etcd-password-file"), "{log}");

    secured.etcdctl(&ROOT, &["user", "delete", "launcher"]);
    secured.user(&ROOT, "right");
    until("it is let in again", || is_readable(&api, "1"));
    boot(&made);
    until("it is ready", || (api.show("lab")["state"] == "ready").then_some(()));

    // A user without the prefix.
    secured.etcdctl(&ROOT, &["role", "revoke-permission", "launcher", "--prefix", "/cernvm-launches/"]);
    until("it is refused", || is_readable(&api, "0"));
    site.run(1, &["list"])
        .expect(77, "refuses the user launcher: permission denied")
        .expect(77, "--etcd-user");
    api.stop();
}
