//! Takes the pictures of the pairing page that the documents show: each state on a desktop, in the dark and on a phone.
//!
//!     page-pictures DIRECTORY

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::json;
use worlds::browser::{Browser, ENTER};
use worlds::fixtures;
use worlds::machine::{MASTER, Machine, put};
use worlds::service::Service;
use worlds::wait::until;

/// What moves would be caught half-way.
const STILL: (&str, &str) = ("prefers-reduced-motion", "reduce");
/// What the contexts name, instead of a port of this machine.
const PUBLIC_URL: &str = "https://pair.example.org";

fn main() {
    let dir = env::args().nth(1).map(PathBuf::from).expect("usage: page-pictures DIRECTORY");
    fs::create_dir_all(&dir).expect("the directory can be made");
    let service = Service::with(&["--public-url", PUBLIC_URL]);
    let browser = Browser::start();

    browser.open(&format!("{}/", service.url()));
    browser.wait_for("start-title", "Bring up");
    take(&browser, &dir, "empty", "main");

    browser.tab_to("#create");
    browser.press(ENTER);
    browser.wait_for("link", "Live");
    browser.wait_for("slave-findings", "sealed");
    paste(
        &browser,
        "#!/bin/sh\necho \"server=###MASTER_IP_PLACEHOLDER###\" >>/etc/batch.conf\njoin ###MASTER-IP_PLACEHOLDER###\n",
    );
    browser.wait_for("slave-findings", "is no placeholder");
    take(&browser, &dir, "contexts", "#contexts");
    paste(&browser, "my_master_ip=###MASTER_IP_PLACEHOLDER###\n");
    until("the contexts are as they were", || {
        (!browser.text("slave-findings").contains("error")).then_some(())
    });

    let slaves = ["node-1", "node-2", "node-3"].map(|name| machine(&browser, &service, "slave", name));
    let agents: Vec<_> = slaves.iter().map(Machine::start).collect();
    browser.wait_for("counts", "3 waiting");
    take(&browser, &dir, "waiting", "main");

    let master = machine(&browser, &service, "master", "master");
    master.contextualize().expect(0);
    master.is_up().expect(0);
    for agent in agents {
        agent.finish().expect(0);
    }
    for slave in &slaves {
        slave.is_up().expect(0);
    }
    browser.wait_for("headline", "Ready: 3 of 3");
    take(&browser, &dir, "ready", "main");

    large(&browser, &service);
    browser.wait_for("headline", "Ready: 200 of 200");
    take(&browser, &dir, "ready-200", "main");

    let pin = open_cluster(&browser, &service);
    let names = ["node-1", "node-2", "node-3", "node-4"];
    for name in names {
        report(&service, &pin, name, "joined", "");
    }
    browser.wait_for("counts", "4 joined");
    for name in names {
        report(&service, &pin, name, "ready", "");
    }
    browser.wait_for("counts", "4 ready");
    report(&service, &pin, "node-3", "failed", "the master is not ready yet after 1500 s");
    browser.wait_for("headline", "Failed: 1 of 4");
    take(&browser, &dir, "failed", "main");
}

/// Gives the slaves another context, as someone does who types it.
fn paste(browser: &Browser, context: &str) {
    let context = json!(context);
    browser.script(&format!(
        "const it = document.getElementById('slave'); it.value = {context}; it.dispatchEvent(new Event('change'))"
    ));
}

/// A VM with the context that the page shows for its role.
fn machine(browser: &Browser, service: &Service, role: &str, name: &'static str) -> Machine {
    let context = browser.value(role).replace(PUBLIC_URL, &service.url());
    let settings = [format!("cvm_cluster_master_ip={MASTER}")];
    let settings: Vec<&str> = settings.iter().filter(|_| role == "master").map(String::as_str).collect();
    Machine::new(fixtures::with_settings(&context, &settings), name)
}

/// Opens a cluster that is not sealed and whose master is ready.
fn open_cluster(browser: &Browser, service: &Service) -> String {
    let pin = service.api().new_pin();
    browser.open(&format!("{}/cluster_pairing#{pin}", service.url()));
    browser.wait_for("headline", "Waiting for the master");
    browser.wait_for("link", "Live");
    service.api().create_key(&pin, "master_ip", MASTER);
    service.api().create_key(&pin, "master_ready", MASTER);
    browser.wait_for("headline", "The master is ready");
    pin
}

/// A cluster of two hundred.
fn large(browser: &Browser, service: &Service) {
    let pin = open_cluster(browser, service);
    service.api().create_key(&pin, "k3s_token", "K10");
    for (state, count) in [("joined", "200 joined"), ("ready", "200 ready")] {
        for at in 1..=200 {
            report(service, &pin, &format!("node-{at}"), state, "");
        }
        browser.wait_for("counts", count);
    }
}

fn report(service: &Service, pin: &str, name: &str, state: &str, detail: &str) {
    let report =
        json!({"name": name, "role": "slave", "state": state, "addresses": ["192.0.2.9"], "detail": detail});
    put(service.api(), pin, name, &report);
}

/// Takes the pictures of a state, with a part of the page at the top.
fn take(browser: &Browser, dir: &Path, state: &str, top: &str) {
    for (form, scheme, width, height) in
        [("desktop", "light", 1280, 800), ("dark", "dark", 1280, 800), ("phone", "light", 390, 844)]
    {
        browser.emulate("", &[("prefers-color-scheme", scheme), STILL]);
        browser.resize(width, height);
        browser.script(&format!(
            "document.activeElement.blur();
             scrollTo(0, document.querySelector('{top}').offsetTop - document.querySelector('main').offsetTop)"
        ));
        until("the screen has its size", || (browser.script("return innerWidth") == width).then_some(()));
        let picture = browser.screenshot();
        let path = dir.join(format!("page-{state}-{form}.png"));
        fs::write(&path, &picture).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}
