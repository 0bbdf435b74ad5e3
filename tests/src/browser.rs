//! A browser without a screen, told what to do over WebDriver (W3C): Chromium behind chromedriver.
//!
//! Debian has them in `chromium` and `chromium-driver`. The browser starts with an empty profile and connects to nothing but the
//! service under test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::Request;
use crate::process::Process;
use crate::wait::until;

/// Keys as WebDriver names them.
pub const TAB: &str = "\u{e004}";
/// The key that presses a button.
pub const ENTER: &str = "\u{e007}";
const CONTROL: &str = "\u{e009}";

/// More presses of the tabulator than any page here has stops.
const STOPS: usize = 60;

/// What keeps Chromium to itself.
const FLAGS: [&str; 11] = [
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
];

/// A browser with one window; it ends with the value.
#[derive(Debug)]
pub struct Browser {
    driver: Process,
    address: SocketAddr,
    session: String,
    /// Its profile; nothing of it outlives the browser.
    profile: TempDir,
}

impl Browser {
    /// A fresh browser.
    ///
    /// # Panics
    /// When there is none, or it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let profile = TempDir::with_prefix("browser-").expect("a temporary directory can be made");
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null());
        assert!(
            Command::new("chromedriver").arg("--version").stdout(Stdio::null()).status().is_ok(),
            "there is no chromedriver: run `tests/scripts/need chromium chromedriver=chromium-driver` first"
        );
        let mut driver = Process::start("chromedriver", &mut command);
        let port = driver.line_after("ChromeDriver was started successfully on port ");
        let port = port.trim_end_matches('.').parse().expect("a port is a number");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut browser = Self { driver, address, session: String::new(), profile };
        let mut flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        flags.push(format!("--user-data-dir={}", browser.profile.path().display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.ask("POST", "/session", &wanted);
        browser.session = session["sessionId"].as_str().expect("a session has a name").to_owned();
        let downloads = json!({"behavior": "allow", "downloadPath": browser.downloads()});
        browser.devtools("Browser.setDownloadBehavior", &downloads);
        browser
    }

    /// Goes to a URL, and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// Loads the page anew.
    pub fn reload(&self) {
        self.command("refresh", &json!({}));
    }

    /// What a piece of script returns.
    pub fn script(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of the element that has an id, as a person sees it: empty while it is hidden.
    #[must_use]
    pub fn text(&self, id: &str) -> String {
        let shown = format!(
            "const it = document.getElementById('{id}'); return it.checkVisibility() ? it.innerText ?? it.textContent : ''"
        );
        let text = self.script(&shown);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// What stands in the field that has an id.
    #[must_use]
    pub fn value(&self, id: &str) -> String {
        let value = self.script(&format!("return document.getElementById('{id}').value"));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the element that has an id shows a text.
    pub fn wait_for(&self, id: &str, text: &str) {
        until(&format!("#{id} shows {text:?}"), || self.text(id).contains(text).then_some(()));
    }

    /// Presses keys, one after the other.
    pub fn press(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|act| json!({"type": act, "value": key.to_string()})))
            .collect();
        self.command("actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// Goes from stop to stop with the tabulator until one is reached; `stop` is a CSS selector.
    ///
    /// # Panics
    /// When the keyboard does not lead there.
    pub fn tab_to(&self, stop: &str) {
        let reached = format!("return document.activeElement.matches({stop:?})");
        for _ in 0..STOPS {
            self.press(TAB);
            if self.script(&reached) == true {
                return;
            }
        }
        panic!("the keyboard does not lead to {stop}");
    }

    /// Waits until a piece of script returns true; `what` completes "gave up waiting until".
    pub fn wait_until(&self, what: &str, script: &str) {
        until(what, || (self.script(script) == true).then_some(()));
    }

    /// Gives the field that has an id the focus, with what stands in it selected.
    pub fn enter(&self, id: &str) {
        self.script(&format!("const it = document.getElementById('{id}'); it.focus(); it.select()"));
    }

    /// Presses a key while Control is held.
    pub fn press_with_control(&self, key: &str) {
        let act = |act: &str, key: &str| json!({"type": act, "value": key});
        let actions =
            [act("keyDown", CONTROL), act("keyDown", key), act("keyUp", key), act("keyUp", CONTROL)];
        self.command("actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// Gives a field for files, which may be hidden, the path of one.
    ///
    /// # Panics
    /// When there is no such field.
    pub fn choose(&self, id: &str, file: &Path) {
        let element = self.element(&format!("#{id}"));
        self.command(&format!("element/{element}/value"), &json!({ "text": file.display().to_string() }));
    }

    /// What was downloaded under this name, once it is there whole.
    #[must_use]
    pub fn downloaded(&self, name: &str) -> String {
        let path = self.downloads().join(name);
        until(&format!("{name} is downloaded"), || {
            std::fs::read_to_string(&path).ok().filter(|text| !text.is_empty())
        })
    }

    fn downloads(&self) -> PathBuf {
        self.profile.path().join("downloads")
    }

    /// Whether pages may run scripts from now on.
    pub fn allow_scripts(&self, may_run: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": !may_run}));
    }

    /// Presses an element as a mouse does; `selector` is a CSS selector.
    ///
    /// # Panics
    /// When there is no such element.
    pub fn click(&self, selector: &str) {
        self.command(&format!("element/{}/click", self.element(selector)), &json!({}));
    }

    fn element(&self, selector: &str) -> String {
        let found = self.command("element", &json!({"using": "css selector", "value": selector}));
        let element = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        element.unwrap_or_else(|| panic!("there is no {selector}")).to_owned()
    }

    /// Gives the page a screen of this width and height, in CSS pixels; a narrow one is a phone's.
    pub fn resize(&self, width: u32, height: u32) {
        let mobile = width < 500;
        let scale = if mobile { 2 } else { 1 };
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile});
        self.devtools("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// Prefers `dark` or `light`.
    pub fn prefer(&self, scheme: &str) {
        self.emulate("", &[("prefers-color-scheme", scheme)]);
    }

    /// Shows the page as a medium does, `print` for one, to a person who prefers what these media features say.
    pub fn emulate(&self, medium: &str, preferred: &[(&str, &str)]) {
        let features: Vec<_> =
            preferred.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        self.devtools("Emulation.setEmulatedMedia", &json!({"media": medium, "features": features}));
    }

    /// What the console says, errors and refusals by the page's own policy among it.
    #[must_use]
    pub fn console(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({"type": "browser"}));
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.as_array().into_iter().flatten().map(text).collect()
    }

    /// What the screen shows, as PNG.
    ///
    /// # Panics
    /// When the browser gives none.
    #[must_use]
    pub fn screenshot(&self) -> Vec<u8> {
        let shot = self.devtools("Page.captureScreenshot", &json!({"optimizeForSpeed": false}));
        STANDARD.decode(shot["data"].as_str().unwrap_or_default()).expect("a picture is in base64")
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    fn command(&self, command: &str, parameters: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{command}", self.session), parameters)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = Request::new(method, path).header("Connection", "close").json(body).send(self.address);
        let answer = answer.unwrap_or_else(|e| panic!("no answer to {method} {path}: {e}"));
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer.json()["value"].clone()
    }

    /// Prints what a person would see and the console, for a test that fails.
    fn tell(&self) {
        let shown = "return [location.href, document.readyState, document.activeElement.outerHTML, document.body.innerText]";
        for (command, parameters) in
            [("execute/sync", json!({"script": shown, "args": []})), ("se/log", json!({"type": "browser"}))]
        {
            let path = format!("/session/{}/{command}", self.session);
            if let Ok(answer) =
                Request::new("POST", &path).header("Connection", "close").json(&parameters).send(self.address)
            {
                eprintln!("the browser's {command}: {}", answer.text());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        // The driver ends its browser with the session.
        let _ = Request::new("DELETE", &format!("/session/{}", self.session)).send(self.address);
        self.driver.kill();
    }
}
