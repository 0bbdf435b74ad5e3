//! Notifications: a real RabbitMQ, real messages of oslo.messaging, and a launcher that looks at a cluster by itself once an
//! hour only.

use std::time::Instant;

use serde_json::{Value, json};
use worlds::http::Request;
use worlds::rabbit::{Rabbit, User};
use worlds::service::Service;
use worlds::together::together;
use worlds::wait::until;

use crate::api::{Api, request};
use crate::cloud::{Cloud, Manners};
use crate::cluster::stack;
use crate::home::{Home, finish};
use crate::notifier::{MESSAGE_TOKEN, Notifier};

const PASSWORD: &str = "view-password-2d7e";
/// The user of the launcher, with the permissions that docs/launcher.md names, and that of the cloud.
const USERS: [User; 2] = [
    User {
        name: "view",
        password_hash: "AQIDBIIgA3Him360pTSDbT7Hpn3MppX0CgaifmbAdYSVtUXQ",
        permissions: [
            r"^cernvm-cluster-launcher\.",
            r"^cernvm-cluster-launcher\.",
            r"^(heat|nova|cernvm-cluster-launcher\..*)$",
        ],
    },
    User {
        name: "cloud",
        password_hash: "AQIDBMk+p/6ywcUywQMJxvNDF1a4izrN36m34uIxioHYbblX",
        permissions: [".*", ".*", ".*"],
    },
];

/// A launcher that takes notifications.
struct Launcher<'a> {
    api: Api,
    cloud: &'a Cloud,
}

impl<'a> Launcher<'a> {
    fn start(home: &Home, cloud: &'a Cloud, pairing: &str, url: &str, more: &[&str]) -> Self {
        let file = home.path().join("password");
        std::fs::write(&file, format!("{PASSWORD}\n")).expect("a file can be written");
        let file = file.display().to_string();
        let mut args = vec!["--notifications-url", url, "--notifications-password-file", &file];
        args.extend(more);
        Self { api: Api::with(home, cloud, pairing, &args), cloud }
    }

    /// Waits until the log has a line with these words.
    fn says(&self, words: &str) {
        until(&format!("the launcher says {words:?}"), || self.log().contains(words).then_some(()));
    }

    fn log(&self) -> String {
        self.api.process.stderr()
    }

    fn metric(&self, line: &str) -> bool {
        let metrics = Request::new("GET", "/metrics").send(self.api.address).expect("it answers").text();
        metrics.contains(&format!("\ncluster_launcher_notifications_{line}\n"))
    }

    /// How many looks notifications have brought forward.
    fn woken(&self) -> String {
        let metrics = Request::new("GET", "/metrics").send(self.api.address).expect("it answers").text();
        let line =
            metrics.lines().find(|line| line.starts_with("cluster_launcher_notifications_woken_total "));
        line.expect("it is counted").to_owned()
    }

    /// How often the stack was looked at.
    fn looks(&self) -> usize {
        let is_look =
            |line: &&String| line.starts_with("GET /heat/stacks/lab--") && !line.contains("/resources");
        self.cloud.lines().iter().filter(is_look).count()
    }

    /// Waits until the cluster looks so, and says how long that took.
    fn shows(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        until(&format!("the view shows {what}"), || is_so(&self.api.show("lab")).then_some(()));
        println!("the view showed {what} after {} ms", began.elapsed().as_millis());
    }

    /// Ends it. It must have shown no secret.
    fn stop(mut self) {
        self.api.stop();
        let log = self.log();
        assert!(!log.contains(PASSWORD) && !log.contains(MESSAGE_TOKEN), "{log}");
    }
}

fn stack_status(view: &Value) -> &str {
    view["stack"]["status"].as_str().unwrap_or_default()
}

#[test]
fn notifications_show_a_change_at_once_and_a_broker_that_is_away_harms_nothing() {
    if !Rabbit::is_installed() || !Notifier::is_installed() {
        return;
    }
    let mut rabbit = Rabbit::start(&USERS);
    what_is_wrong_is_named_while_the_launcher_goes_on(&rabbit);

    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let certificate = rabbit.certificate().display().to_string();
    let more = ["--notifications-ca", certificate.as_str(), "--poll-interval", "3600"];
    let url = format!("amqps://view@{}", rabbit.amqps());
    let launcher = Launcher::start(&home, &cloud, &service.url(), &url, &more);

    // The cloud's services are not there yet, and with them their exchanges.
    launcher.says("no notifications of the exchange nova at RabbitMQ: NOT_FOUND - no exchange 'nova'");
    let mut notifier = Notifier::start(&format!("amqp://cloud:cloud@{}", rabbit.amqp()));
    let foreign = json!({ "state": [1, 2] });
    let introduce = |notifier: &mut Notifier| {
        for exchange in ["heat", "nova"] {
            notifier.send(exchange, "info", "service.start", &foreign, 1);
        }
        for exchange in ["heat", "nova"] {
            until("the exchange is bound", || {
                launcher.metric(&format!("bound{{exchange=\"{exchange}\"}} 1")).then_some(())
            });
        }
    };
    introduce(&mut notifier);

    let answer = launcher.api.ask("POST", "/clusters/", Some(&request(&cloud)));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made = stack(&cloud);
    launcher.shows("a stack in the making", |view| stack_status(view) == "CREATE_IN_PROGRESS");
    assert_eq!(launcher.looks(), 1);

    // Heat's own words, and those of a nested stack.
    let about_stack = |name: &str| {
        json!({
            "stack_name": name, "stack_identity": made.id, "tenant_id": "project-1", "state": "CREATE_COMPLETE",
        })
    };
    let created = "orchestration.stack.create.end";
    notifier.send("heat", "info", created, &about_stack(&made.name), 1);
    launcher.shows("a stack that is complete", |view| stack_status(view) == "CREATE_COMPLETE");
    let before = launcher.looks();
    notifier.send("heat", "info", created, &about_stack(&format!("{}-workers-x", made.name)), 1);
    // Heat sends a message before it writes down the state, so one message makes two looks.
    until("it looks twice", || (launcher.looks() > before + 1).then_some(()));

    // Nova's, in either of its forms.
    cloud.servers(|servers| servers.change(&made.id, "SHUTOFF", None));
    let server = format!("{}-master", made.id);
    let about_server = json!({ "instance_id": server, "tenant_id": "project-1", "state": "stopped" });
    notifier.send("nova", "info", "compute.instance.power_off.end", &about_server, 1);
    launcher.shows("servers that are off", |view| view["servers"][0]["status"] == "SHUTOFF");
    cloud.servers(|servers| servers.change(&made.id, "ERROR", None));
    notifier.send("nova", "error", "compute.instance.update", &about_server, 1);
    launcher.shows("a cluster that failed", |view| view["state"] == "failed");

    // What is not about this cluster, or is no notification, is counted and left.
    let before = launcher.woken();
    let mut other = about_stack(&made.name);
    other["tenant_id"] = json!("project-2");
    notifier.send("heat", "info", created, &other, 1);
    notifier.send("heat", "info", created, &about_stack("other--x"), 1);
    for body in ["", "{", "[]", r#"{"oslo.message": "{\"event_type\": 1}"}"#] {
        notifier.send_body("heat", body);
    }
    until("they are counted", || launcher.metric("received_total{kind=\"malformed\"} 4").then_some(()));
    assert!(launcher.metric("connected 1") && launcher.metric("connections_total 1"));
    assert_eq!(launcher.woken(), before, "a message of others made the launcher look");

    // A flood makes no flood of looks, and what comes at its end is seen.
    let (began, before) = (Instant::now(), launcher.looks());
    notifier.send("nova", "info", "compute.instance.update", &about_server, 2000);
    cloud.servers(|servers| servers.change(&made.id, "ACTIVE", None));
    notifier.send("nova", "info", "compute.instance.power_on.end", &about_server, 1);
    launcher.shows("servers that are on", |view| view["servers"][0]["status"] == "ACTIVE");
    let (looks, most) = (launcher.looks() - before, began.elapsed().as_millis() / 300 + 2);
    println!("2001 messages, {looks} looks");
    assert!(looks as u128 <= most, "{looks} looks, at most {most} are wanted");
    // The queue of the cloud keeps all of its messages.
    assert!(notifier.waiting("notifications.info") > 2000);

    // Away and back: nothing is wanted of the operator.
    rabbit.kill();
    launcher.says("is lost");
    until("it is counted", || launcher.metric("connected 0").then_some(()));
    rabbit.resume();
    until("it connects again", || launcher.metric("connections_total 2").then_some(()));
    introduce(&mut notifier);
    cloud.lose_stacks();
    notifier.send("heat", "info", "orchestration.stack.delete.end", &about_stack(&made.name), 1);
    launcher.shows("a stack that is gone", |view| view["state"] == "gone");
    let log = launcher.log();
    assert_eq!(log.matches("is lost").count(), 1, "it is said once:\n{log}");
    launcher.stop();
}

/// Each in a sentence, with the next step, and once; the view works as it does without.
fn what_is_wrong_is_named_while_the_launcher_goes_on(rabbit: &Rabbit) {
    let (amqp, amqps) = (rabbit.amqp(), rabbit.amqps());
    let cases = [
        (
            format!("amqp://nobody@{amqp}"),
            "closes the connection before the login is done: user or password is wrong",
        ),
        (
            format!("amqp://cloud@{amqp}"),
            "closes the connection before the login is done: user or password is wrong",
        ),
        (format!("amqp://view@{amqp}/nowhere"), "refuses the login: NOT_ALLOWED - vhost nowhere not found"),
        ("amqp://view@127.0.0.1:1".to_owned(), "at 127.0.0.1:1 cannot be reached: Connection refused"),
        (
            "amqp://view@mq.invalid".to_owned(),
            "at mq.invalid:5672 cannot be reached: failed to lookup address",
        ),
        (format!("amqps://view@{amqps}"), "cannot be trusted: invalid peer certificate"),
        (format!("amqps://view@{amqp}"), "does not speak AMQP, or not as --notifications-url says"),
        (format!("amqp://view@{amqps}"), "or this port is for TLS (amqps://)"),
    ];
    let cloud = Cloud::start(Manners::default());
    together(cases, |(url, words)| {
        let home = Home::new();
        let launcher = Launcher::start(&home, &cloud, "http://127.0.0.1:1", &url, &[]);
        launcher.says(words);
        until("the next step is named", || launcher.log().contains("\n  next: ").then_some(()));
        assert_eq!(launcher.api.ask("GET", "/clusters/", None).status, 200, "{url}");
        assert!(launcher.metric("connected 0"), "{url}");
        launcher.stop();
    });
}

#[test]
fn a_launcher_does_not_start_with_a_place_that_cannot_be_one() {
    let (cloud, home) = (Cloud::start(Manners::default()), Home::new());
    let (file, empty) = (home.path().join("password"), home.path().join("empty"));
    std::fs::write(&file, "x\n").expect("a file can be written");
    std::fs::write(&empty, "\n").expect("a file can be written");
    let (file, empty) = (file.display().to_string(), empty.display().to_string());
    for (url, password, more, words) in [
        ("http://mq", &file, None, "--notifications-url does not begin with amqp:// or amqps://"),
        ("amqp://view:view-password@mq", &file, None, "--notifications-url has a password in it"),
        ("amqp://mq", &file, None, "--notifications-url names no user"),
        ("amqp://view@mq", &empty, None, "has no password in its first line"),
        ("amqp://view@mq", &file, Some("--notifications-ca"), "--notifications-ca is for amqps://"),
    ] {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0"];
        args.extend(["--notifications-url", url, "--notifications-password-file", password]);
        args.extend(more.into_iter().flat_map(|flag| [flag, file.as_str()]));
        let done = finish(home.start(&cloud, &args));
        done.expect(64, words).expect(64, "\n  next: ");
        assert!(!done.stderr.contains("view-password"), "{}", done.stderr);
    }
    home.run(&cloud, &["serve", "--notifications-url", "amqp://view@mq"])
        .expect(64, "--notifications-password-file <FILE>");
    home.run(&cloud, &["serve", "--poll-interval", "0"]).expect(64, "it is 0");
}
