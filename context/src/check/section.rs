//! What may be wrong with the ucernvm section.

use protocol::Pin;
use protocol::url::ServiceUrl;

use super::Report;
use crate::document::{Entry, MissingEnd, Section};
use crate::placeholder::Placeholder;
use crate::settings::{AwaitedKeys, FoundSection, Role, Setting, Settings};

/// Looks at the section that counts, and at the placeholders that it should bring values for.
pub(super) fn check(section: &Section, placeholders: &[Placeholder], report: &mut Report) {
    if let Some(missing) = section.missing_end() {
        let before = match missing {
            MissingEnd::EndOfFile => "before the file ends".to_owned(),
            MissingEnd::NextSection(line) => format!("before the next one in line {line}"),
        };
        report.error(
            section.place(),
            format!("[ucernvm-begin] has no [ucernvm-end] {before}"),
            "end the section with a line [ucernvm-end]",
        );
    }
    for line in section.ignored_lines() {
        report.warning(
            section.place_of(line.number),
            "this line of the section sets nothing",
            "write it as key=value",
        );
    }
    for entry in section.entries() {
        check_entry(section, entry, report);
    }
    match Settings::from_sections(std::slice::from_ref(section)) {
        Err(error) => report.problem(&error),
        Ok(FoundSection::NoSection) => {}
        Ok(FoundSection::NoPin { place }) => report.warning(
            place,
            "there is no cvm_cluster_pin in this section, so that the agent has nothing to do",
            "add cvm_cluster_pin= and the pin of your cluster",
        ),
        Ok(FoundSection::Cluster(settings)) => check_settings(section, &settings, placeholders, report),
    }
}

fn check_entry(section: &Section, entry: &Entry, report: &mut Report) {
    let place = || section.place_of(entry.line);
    let is_ours = entry.key.starts_with("cvm_");
    let meant = Setting::nearest(&entry.key);
    if Setting::named(&entry.key).is_none() && (is_ours || meant.is_some()) {
        let next = match meant {
            Some(meant) => format!("write {}, if that is what you meant", meant.name()),
            None => format!("the settings are {}", Setting::ALL.map(Setting::name).join(", ")),
        };
        report.warning(place(), format!("the agent has no setting {}", shortened(&entry.key)), next);
    }
}

fn check_settings(section: &Section, settings: &Settings, placeholders: &[Placeholder], report: &mut Report) {
    let line_of = |setting: Setting| {
        let entry = section.entries().iter().rev().find(|entry| entry.key == setting.name());
        section.place_of(entry.map_or(section.line(), |entry| entry.line))
    };
    if !settings.pin.looks_made() {
        report.warning(
            line_of(Setting::Pin),
            format!(
                "this is no pin that our service makes: those have {} characters of a-z and 0-9",
                Pin::MADE_LENGTH
            ),
            "compare it with the pin that you created",
        );
    }
    for service in settings.services.iter().filter(|service| service.is_loopback()) {
        report.warning(
            line_of(Setting::ServiceUrl),
            format!("{service} leads every VM to itself"),
            "write the URL by which the VMs reach the service",
        );
    }
    let is_open = |service: &ServiceUrl| !service.is_secure() && !service.is_loopback();
    if settings.secret.is_none() && settings.services.iter().any(is_open) {
        report.warning(
            line_of(Setting::ServiceUrl),
            "the service is used over plain http: every machine on the network path sees the pin, and with it controls \
             every slave",
            "seal the cluster (`cernvm-pairing-server contexts` makes a cvm_cluster_secret), or use https://; \
             cvm_service_fingerprint makes that work without a public certificate",
        );
    }
    for placeholder in placeholders {
        let key = placeholder.key();
        if settings.brings(&key) || settings.literal.contains(&key) {
            continue;
        }
        if settings.role == Role::Master {
            report.warning(
                section.place(),
                format!("this is a master's context, and a master leaves {placeholder} as it is"),
                "put the value itself there; a master publishes it, it does not wait for it",
            );
        } else {
            report.warning(
                line_of(Setting::AwaitedKeys),
                format!("{placeholder} stays as it is, since {key} is not among cvm_cluster_keys"),
                format!("add {key} to cvm_cluster_keys, or take that line out"),
            );
        }
    }
    if let AwaitedKeys::Only(names) = &settings.keys {
        for name in names.iter().filter(|name| !placeholders.iter().any(|p| p.key() == **name)) {
            report.warning(
                line_of(Setting::AwaitedKeys),
                format!("{name} is waited for, but nothing in this context has a placeholder for it"),
                format!(
                    "take it out, or put ###{}_PLACEHOLDER### where it belongs",
                    name.to_ascii_uppercase()
                ),
            );
        }
    }
}

/// A key may be as long as a line and contain control characters.
fn shortened(key: &str) -> String {
    key.chars().filter(|c| !c.is_control()).take(40).collect()
}
