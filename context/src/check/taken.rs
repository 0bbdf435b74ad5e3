//! What cloud-init does not do with user-data that it has taken, as far as its own files tell: for the boot, in the words
//! of the check before it.

use super::part::addresses;
use super::read_later::is_read_later;
use super::{Finding, Report, check_parts};
use crate::document::{Document, PartKind, Reading};
use crate::settings::Settings;

/// What cloud-init does with user-data that it has taken.
#[derive(Debug, Default)]
pub struct TakenUserData {
    /// What it does not do that is meant: what [`check_document`](super::check_document) finds of the parts and the
    /// placeholders, and of what an `#include` brought.
    pub findings: Vec<Finding>,
    /// Whether it has placeholders, and a later stage reads one.
    pub is_read_later: bool,
    /// Whether it has placeholders, and no later stage reads one.
    pub is_unread: bool,
}

/// Looks at user-data as it came, and at what cloud-init has made of it (`user-data.txt.i`).
#[must_use]
pub fn check_taken(
    as_it_came: &Document,
    decoded: Option<&Document>,
    settings: Option<&Settings>,
) -> TakenUserData {
    let mut report = Report::default();
    let reading = as_it_came.reading();
    check_parts(as_it_came, &reading, settings, &mut report);
    let has_include = check_fetched(&reading, decoded, &mut report);
    let is_to_be_replaced = |document: &Document| {
        let brings = |key: &str| settings.is_none_or(|settings| settings.brings(key));
        document.placeholders().iter().any(|placeholder| brings(&placeholder.key()))
    };
    let mut taken = TakenUserData {
        is_read_later: is_read_later(&reading),
        is_unread: is_to_be_replaced(as_it_came),
        ..TakenUserData::default()
    };
    if let Some(decoded) = decoded {
        let mut reading = decoded.reading();
        // cloud-init keeps the parts as it has read them, and does not read them out of their file again.
        reading.parts.iter_mut().for_each(|part| part.escaped_line = None);
        taken.is_read_later |= is_read_later(&reading);
        taken.is_unread |= is_to_be_replaced(decoded);
        // The agent replaces the placeholders of the data as it came, and leaves those of the decoded.
        let is_second_run = as_it_came.placeholders().is_empty() && !decoded.placeholders().is_empty();
        if has_include || is_second_run {
            let mut of_decoded = Report::default();
            check_parts(decoded, &reading, settings, &mut of_decoded);
            for finding in of_decoded.findings {
                if report.findings.iter().all(|said| said.what != finding.what) {
                    report.add(finding);
                }
            }
        }
    }
    taken.is_unread &= !taken.is_read_later;
    taken.findings = report.findings;
    taken
}

/// Whether it has an `#include`. One of which an address was not fetched is an error: up to 26.2 cloud-init then drops all
/// parts, unless its distribution has it go on without (`ERROR_ON_USER_DATA_FAILURE`).
fn check_fetched(reading: &Reading<'_>, decoded: Option<&Document>, report: &mut Report) -> bool {
    let (includes, others): (Vec<_>, Vec<_>) =
        reading.parts.iter().partition(|part| part.kind == PartKind::Include);
    let mut addresses =
        includes.iter().flat_map(|part| addresses(part).map(move |(line, _)| part.place(line)));
    let Some(first) = addresses.next() else { return false };
    let fewest_parts = others.len() + 1 + addresses.count();
    if decoded.is_none_or(|decoded| decoded.parts() < fewest_parts) {
        report.error(
            first,
            "cloud-init has not fetched every address of this #include",
            "see /var/log/cloud-init.log for which, and launch the VM again when it can be fetched",
        );
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{FoundSection, Settings};

    const SECTION: &str = "#[ucernvm-begin]\n#cvm_cluster_pin=enico1qq0oey\n#[ucernvm-end]\n";

    fn document(text: &str) -> Document {
        Document::parse("f", text.as_bytes().to_vec()).unwrap()
    }

    /// What is found, without what to do.
    fn found(as_it_came: &str, decoded: Option<&[&str]>) -> Vec<String> {
        let settings = match Settings::from_sections(&document(SECTION).sections()).unwrap() {
            FoundSection::Cluster(settings) => settings,
            other => panic!("{other:?}"),
        };
        let decoded = decoded.map(|parts| {
            let parts: String = parts.iter().map(|part| format!("--b\n\n{part}\n")).collect();
            document(&format!(
                "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n{parts}--b--\n"
            ))
        });
        let taken = check_taken(&document(as_it_came), decoded.as_ref(), Some(&settings));
        taken.findings.into_iter().map(|finding| format!("{}: {}", finding.place, finding.what)).collect()
    }

    #[test]
    fn names_an_include_of_which_an_address_was_not_fetched() {
        let include = format!("#include\n{SECTION}http://a/1\nhttp://a/2\n");
        let dead = ["f line 5: cloud-init has not fetched every address of this #include"];
        assert_eq!(found(&include, None), dead);
        assert_eq!(found(&include, Some(&["#!/bin/sh"])), dead);
        assert_eq!(found(&include, Some(&["#!/bin/sh", "#!/bin/sh"])), [""; 0]);
    }

    #[test]
    fn looks_at_what_an_include_brought() {
        let include = format!("#include\n{SECTION}http://a/1\n");
        let brought = found(&include, Some(&["#cloud-config\nbootcmd: ['###MASTER_IP_PLACEHOLDER###']"]));
        assert_eq!(
            brought,
            [
                "f line 7: cloud-init acts upon bootcmd in the network stage, before ###MASTER_IP_PLACEHOLDER### can be replaced"
            ]
        );
        let script = "#!/bin/sh\n###MASTER_IP_PLACEHOLDER###";
        assert_eq!(found(&include, Some(&[script])), [""; 0]);
    }

    #[test]
    fn takes_the_characters_of_cloud_inits_own_file_as_they_are() {
        let text = format!("#cloud-config\n{SECTION}# –\nruncmd: ['###MASTER_IP_PLACEHOLDER###']\n");
        assert_eq!(found(&text, Some(&[&text])), [""; 0]);
        assert_eq!(found(&text.replace("###MASTER_IP_PLACEHOLDER###", "192.0.2.1"), Some(&[&text])), [""; 0]);
    }

    #[test]
    fn says_the_same_in_a_second_run_of_a_boot() {
        let text = format!("#cloud-config\n{SECTION}bootcmd: ['###MASTER_IP_PLACEHOLDER###']\n");
        let said = |found: Vec<String>| {
            found.into_iter().map(|said| said.split_once(": ").unwrap().1.to_owned()).collect::<Vec<_>>()
        };
        let first = said(found(&text, Some(&[&text])));
        assert_eq!(first.len(), 1);
        assert_eq!(
            said(found(&text.replace("###MASTER_IP_PLACEHOLDER###", "192.0.2.1"), Some(&[&text]))),
            first
        );
    }
}
