//! The contexts in `fixtures/`, filled in with a pin and a service.

use std::path::Path;

/// The pin in the fixtures: that of CernVM's documentation.
const PIN_OF_THE_BOOK: &str = "enico1qq0oey";

/// The master's context of CernVM's documentation, verbatim but for pin and service.
#[must_use]
pub fn master(pin: &str, url: &str) -> String {
    made_out("master.context", pin, &[&service(url)])
}

/// The slave's context of CernVM's documentation, verbatim but for pin and service.
#[must_use]
pub fn slave(pin: &str, url: &str) -> String {
    made_out("slave.context", pin, &[&service(url)])
}

/// A cloud-config with two placeholders in a MIME message that has the section in a part of its own.
#[must_use]
pub fn cloud_config(pin: &str, url: &str) -> String {
    made_out("cloud-config.mime", pin, &[&service(url)])
}

/// The line of the section that names a service.
#[must_use]
pub fn service(url: &str) -> String {
    format!("cvm_service_url={url}")
}

/// A fixture with another pin, and with further lines at the end of its section.
///
/// # Panics
/// When there is no such fixture.
#[must_use]
pub fn made_out(name: &str, pin: &str, settings: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    with_settings(&text.replace(PIN_OF_THE_BOOK, pin), settings)
}

/// A context with further lines at the end of its section.
#[must_use]
pub fn with_settings(context: &str, settings: &[&str]) -> String {
    let lines: String = settings.iter().map(|line| format!("{line}\n")).collect();
    context.replace("[ucernvm-end]", &(lines + "[ucernvm-end]"))
}
