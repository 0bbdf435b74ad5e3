//! The pairing page in a browser: a person makes a pin, boots a cluster with what the page says, and sees it come up.

use serde_json::json;
use worlds::browser::{Browser, ENTER};
use worlds::fixtures;
use worlds::guest::Guest;
use worlds::service::Service;
use worlds::wait::until;

/// An address of documentation (RFC 5737).
const ADDRESS: &str = "192.0.2.7";

/// Makes a pin with the keyboard alone.
fn make_pin(browser: &Browser, service: &Service) -> String {
    browser.open(&format!("{}/", service.url()));
    browser.tab_to("#create");
    browser.press(ENTER);
    until("there is a pin", || Some(browser.value("pin")).filter(|pin| pin.len() == 12))
}

fn state_of(browser: &Browser, stage: &str) -> String {
    let class = browser.script(&format!("return document.getElementById('{stage}').className"));
    class.as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_person_makes_a_pin_and_sees_the_cluster_come_up_and_end() {
    let service = Service::start();
    let browser = Browser::start();
    let pin = make_pin(&browser, &service);
    assert!(browser.script("return location.href").as_str().unwrap().ends_with("/cluster_pairing"));
    let (master, slave) = (browser.value("master"), browser.value("slave"));
    let secret = secret_of(&master).expect("the contexts are sealed");
    for context in [&master, &slave] {
        assert!(context.contains(&format!(
            "cvm_cluster_pin={pin}\ncvm_cluster_secret={secret}\ncvm_service_url={}\n",
            service.url()
        )));
    }
    browser.wait_for("link", "live");
    browser.wait_for("stages", "has not sent its address yet");

    let slave = Guest::new("slave", &slave);
    let waiting = slave.start(&["contextualize"]);
    browser.wait_for("stage-slaves", "1 waiting now");

    let setting = format!("cvm_cluster_master_ip={ADDRESS}");
    let master = Guest::new("master", fixtures::with_settings(&master, &[&setting]));
    master.run(&["contextualize"]).expect(0);
    browser.wait_for("stage-address", "its address is sealed");
    browser.wait_for("stage-ready", "still booting");
    browser.picture("page-master-boots");

    master.run(&["master-ready"]).expect(0);
    waiting.finish().expect(0);
    browser.wait_for("stage-ready", "since");
    browser.wait_for("stage-slaves", "none is waiting any more");
    until("no slave waits", || (state_of(&browser, "stage-slaves") == "done").then_some(()));
    assert!(slave.context().contains(&format!("my_master_ip={ADDRESS}\n")));

    browser.tab_to("summary");
    browser.press(ENTER);
    browser.wait_for("keys", "master_ready\t(not shown)");
    browser.wait_for("keys", "master_ip\t(sealed)");
    let stored = service.api().value(&pin, "master_ip").expect("it is there");
    assert!(stored.starts_with("v1."), "{stored}");
    assert!(!service.log().contains(&secret));
    browser.picture("page-ready");

    browser.tab_to("#delete");
    browser.press(ENTER);
    browser.accept();
    browser.wait_for("problem", "the pin was deleted");
    for stage in ["stage-address", "stage-ready", "stage-slaves"] {
        assert_eq!(state_of(&browser, stage), "lost", "{stage}");
    }
    browser.picture("page-deleted");
    assert_eq!(browser.console(), [""; 0]);
}

fn secret_of(context: &str) -> Option<String> {
    let line = context.lines().find_map(|line| line.strip_prefix("cvm_cluster_secret="))?;
    Some(line.to_owned())
}

#[test]
fn the_browser_makes_the_secret_and_leaves_it_out_where_that_is_wanted() {
    let service = Service::start();
    let browser = Browser::start();
    let pin = make_pin(&browser, &service);
    let secrets = || ["master", "slave"].map(|role| secret_of(&browser.value(role)));
    let [first, of_slave] = secrets();
    assert_eq!(first, of_slave);
    assert!(first.as_ref().is_some_and(|secret| secret.len() == 43), "{first:?}");
    browser.reload();
    browser.wait_for("link", "live");
    assert_eq!(secrets(), [first.clone(), first.clone()], "a reload keeps it");

    browser.script("document.getElementById('sealed').click()");
    assert_eq!(secrets(), [None, None]);
    browser.script("document.getElementById('sealed').click()");
    let [second, of_slave] = secrets();
    assert_eq!(second, of_slave);
    assert!(second.is_some() && second != first);

    // A secret that another tool made for a pin that is followed here stays.
    browser.script("document.getElementById('sealed').click()");
    let context = format!(
        "[ucernvm-begin]\ncvm_cluster_pin={pin}\ncvm_cluster_secret=of-another-tool\n[ucernvm-end]\n"
    );
    browser.script(&format!(
        "const area = document.getElementById('slave'); area.value = {}; area.dispatchEvent(new Event('change'))",
        json!(context)
    ));
    assert_eq!(secrets(), [None, Some("of-another-tool".to_owned())]);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_page_comes_back_after_a_reload_and_after_the_service_does() {
    let mut service = Service::start();
    let browser = Browser::start();
    let pin = make_pin(&browser, &service);
    browser.wait_for("link", "live");
    service.api().create_key(&pin, "master_ip", ADDRESS);
    browser.wait_for("stage-address", ADDRESS);

    browser.reload();
    browser.wait_for("link", "live");
    browser.wait_for("stage-address", ADDRESS);
    assert_eq!(browser.value("pin"), pin);

    service.stop();
    browser.wait_for("link", "connection lost");
    service.resume();
    service.api().create_key(&pin, "master_ready", ADDRESS);
    browser.wait_for("stage-ready", "since");
    browser.wait_for("link", "live");
}

#[test]
fn the_page_says_so_when_the_service_comes_back_without_the_pin() {
    let mut service = Service::with(&["--in-memory"]);
    let browser = Browser::start();
    make_pin(&browser, &service);
    browser.wait_for("link", "live");
    service.stop();
    browser.wait_for("link", "connection lost");
    service.resume();
    browser.wait_for("problem", "does not know the pin any more");
    assert_eq!(state_of(&browser, "stage-ready"), "lost");
}

#[test]
fn a_pin_that_is_known_is_followed_and_one_that_is_not_is_said_to_be_unknown() {
    let service = Service::start();
    let pin = service.api().new_pin();
    service.api().create_key(&pin, "master_ip", ADDRESS);
    let browser = Browser::start();
    browser.open(&format!("{}/cluster_pairing", service.url()));
    browser.tab_to("#known");
    browser.press(&format!("zzzzzzzzzzzz{ENTER}"));
    browser.wait_for("problem", "does not know this pin");
    browser.script("document.getElementById('known').select()");
    browser.press(&format!("{pin}{ENTER}"));
    browser.wait_for("stage-address", ADDRESS);
    assert_eq!(browser.text("problem"), "");
    assert!(
        !browser.script("return location.href").as_str().unwrap().contains(&pin),
        "a pin in the address bar"
    );
}

#[test]
fn what_a_person_has_written_stays() {
    let service = Service::start();
    let browser = Browser::start();
    browser.open(&format!("{}/cluster_pairing", service.url()));
    browser.tab_to("#create");
    browser.press(ENTER);
    let pin = until("there is a pin", || Some(browser.value("pin")).filter(|pin| pin.len() == 12));
    let context = "#cloud-config\nip: ###MASTER_IP_PLACEHOLDER###\n[ucernvm-begin]\ncvm_cluster_pin=enico1qq0oey\n\
                   cvm_cluster_timeout=60\n[ucernvm-end]\nruncmd: []\n";
    let paste = format!(
        "const area = document.getElementById('slave'); area.value = {}; area.dispatchEvent(new Event('change'))",
        json!(context)
    );
    browser.script(&paste);
    let secret = secret_of(&browser.value("master")).expect("the contexts are sealed");
    let filled = format!(
        "#cloud-config\nip: ###MASTER_IP_PLACEHOLDER###\n[ucernvm-begin]\ncvm_cluster_pin={pin}\n\
         cvm_cluster_secret={secret}\ncvm_service_url={}\n\
         cvm_cluster_timeout=60\n[ucernvm-end]\nruncmd: []\n",
        service.url()
    );
    assert_eq!(browser.value("slave"), filled);
    assert_eq!(browser.text("slave-hint"), "");
}

#[test]
fn contexts_name_the_public_url_of_the_service() {
    let service = Service::with(&["--public-url", "https://pair.example.org/pairing/"]);
    let browser = Browser::start();
    let pin = make_pin(&browser, &service);
    for role in ["master", "slave"] {
        let context = browser.value(role);
        let line = "\ncvm_service_url=https://pair.example.org/pairing\n[ucernvm-end]";
        assert!(context.contains(&format!("cvm_cluster_pin={pin}\n")) && context.contains(line), "{context}");
    }
}

#[test]
fn the_page_fits_a_phone_and_is_dark_where_that_is_preferred() {
    let service = Service::start();
    let browser = Browser::start();
    browser.resize(360, 740);
    let pin = make_pin(&browser, &service);
    service.api().create_key(&pin, "master_ip", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
    service.api().create_key(&pin, &"k".repeat(100), "1");
    browser.script("document.querySelector('details').open = true");
    browser.wait_for("keys", "kkkk");
    let size =
        browser.script("const page = document.documentElement; return [page.scrollWidth, page.clientWidth]");
    assert_eq!(size, json!([360, 360]));
    let paper = "return getComputedStyle(document.body).backgroundColor";
    browser.prefer("light");
    assert_eq!(browser.script(paper), "rgb(255, 255, 255)");
    browser.picture("page-phone");
    browser.prefer("dark");
    assert_eq!(browser.script(paper), "rgb(20, 23, 26)");
    browser.picture("page-phone-dark");
}
