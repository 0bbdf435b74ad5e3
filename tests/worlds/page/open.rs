//! How a person comes to a cluster: by a link, by typing its pin, through a proxy.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;
use worlds::browser::{Browser, ENTER};
use worlds::http::Request;
use worlds::machine::MASTER;
use worlds::process::Process;
use worlds::service::Service;
use worlds::wait::until;

use crate::{make_pin, open_page, open_pin};

fn address(browser: &Browser) -> String {
    browser.script("return location.href").as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_link_opens_its_cluster_and_leaves_no_pin_in_the_address_or_the_history() {
    let service = Service::start();
    let pins = [service.api().new_pin(), service.api().new_pin()];
    service.api().create_key(&pins[0], "master_ip", MASTER);
    let browser = Browser::start();
    open_pin(&browser, &service, &pins[0]);
    browser.wait_for("headline", "The master boots");
    assert!(address(&browser).ends_with("/cluster_pairing"), "{}", address(&browser));
    // Another link, into the same tab.
    browser.script(&format!("location.hash = '{}'", pins[1]));
    browser.wait_for("headline", "Waiting for the master");
    assert_eq!(browser.value("pin"), pins[1]);
    assert!(address(&browser).ends_with("/cluster_pairing"), "{}", address(&browser));
    browser.script("history.back()");
    browser.wait_until("the page is back", "return location.href.endsWith('/cluster_pairing')");
    assert!(!pins.iter().any(|pin| address(&browser).contains(pin)));
    // The link that the page gives leads here.
    browser.click("#copy-link");
    browser.wait_for("copy-link", "Copied");
    browser.click("#another");
    browser.enter("known");
    browser.press_with_control("v");
    let link = browser.value("known");
    assert_eq!(link, format!("{}/cluster_pairing#{}", service.url(), pins[1]));
    browser.press(ENTER);
    browser.wait_for("headline", "Waiting for the master");
}

#[test]
fn a_pin_may_be_typed_in_capitals_and_with_blanks_around_it() {
    let service = Service::start();
    let pin = service.api().new_pin();
    service.api().create_key(&pin, "master_ip", MASTER);
    let browser = Browser::start();
    open_page(&browser, &service);
    browser.tab_to("#known");
    browser.press(&format!("zzzzzzzzzzzz{ENTER}"));
    browser.wait_for("problem", "The service does not know this pin.");
    browser.enter("known");
    browser.press(&format!("no pin{ENTER}"));
    browser.wait_for("problem", "This is no pin.");
    browser.enter("known");
    browser.press(&format!(" {} {ENTER}", pin.to_uppercase()));
    browser.wait_for("headline", "The master boots");
    assert_eq!(browser.text("problem"), "");
    assert!(!address(&browser).contains(&pin), "a pin in the address bar");
}

#[test]
fn the_page_works_below_a_path_behind_a_proxy() {
    let service = Service::start();
    let dir = TempDir::new().expect("a temporary directory can be made");
    let listen =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("there is a port");
    let root = dir.path().display();
    let configuration = format!(
        "daemon off; master_process off; pid {root}/pid; error_log stderr error;
        events {{ worker_connections 64; }}
        http {{
            access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
            fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
            server {{ listen {listen}; location /pairing/ {{
                proxy_pass {}/; proxy_http_version 1.1; proxy_read_timeout 75s; proxy_buffering off;
            }} }}
        }}",
        service.url()
    );
    fs::write(dir.path().join("nginx.conf"), configuration).expect("a file can be written");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "stderr"]).stdin(Stdio::null());
    let _nginx = Process::start("nginx", &mut command);
    until("nginx answers", || {
        Request::new("GET", "/pairing/healthz").send(listen).ok().filter(|a| a.status == 200)
    });
    let browser = Browser::start();
    browser.open(&format!("http://{listen}/pairing/"));
    browser.click("#create");
    browser.wait_for("link", "Live");
    assert_eq!(address(&browser), format!("http://{listen}/pairing/cluster_pairing"));
    let line = format!("\ncvm_service_url=http://{listen}/pairing\n");
    until("the contexts name the path", || browser.value("master").contains(&line).then_some(()));
    service.api().create_key(&browser.value("pin"), "master_ip", MASTER);
    browser.wait_for("headline", "The master boots");
    browser.script(
        "window.copied = ''; navigator.clipboard.writeText = async (text) => { window.copied = text }",
    );
    browser.click("#copy-link");
    let link = format!("http://{listen}/pairing/cluster_pairing#{}", browser.value("pin"));
    browser.wait_until("the link keeps the path", &format!("return window.copied === '{link}'"));
}

#[test]
fn contexts_and_links_name_the_public_url_of_the_service() {
    let service = Service::with(&["--public-url", "https://pair.example.org/pairing/"]);
    let browser = Browser::start();
    let pin = make_pin(&browser, &service);
    for role in ["master", "slave"] {
        let context = browser.value(role);
        let line = "\ncvm_service_url=https://pair.example.org/pairing\n[ucernvm-end]";
        assert!(context.contains(&format!("cvm_cluster_pin={pin}\n")) && context.contains(line), "{context}");
    }
    browser.script(
        "window.copied = ''; navigator.clipboard.writeText = async (text) => { window.copied = text }",
    );
    browser.click("#copy-link");
    let link = format!("https://pair.example.org/pairing/cluster_pairing#{pin}");
    browser.wait_until("the link is public", &format!("return window.copied === {}", json!(link)));
}
