//! What several contexts of one cluster do not have in common.

use std::collections::BTreeSet;

use super::Report;
use crate::document::Document;
use crate::settings::{Role, Settings};

/// What counts of a context when it is compared with others.
struct Context<'d> {
    name: &'d str,
    settings: Settings,
}

impl<'d> Context<'d> {
    /// `None` when it has no section that can be read; that is said elsewhere.
    fn of(document: &'d Document) -> Option<Self> {
        Some(Self { name: document.name(), settings: super::settings(&document.sections())? })
    }
}

/// Compares each context with the first one.
pub(super) fn check(documents: &[Document], report: &mut Report) {
    let contexts: Vec<_> = documents.iter().filter_map(Context::of).collect();
    let [first, rest @ ..] = contexts.as_slice() else { return };
    for other in rest {
        if first.settings.pin != other.settings.pin {
            report.error(
                other.name.to_owned(),
                format!("its pin is not that of {}, so that they are two clusters", first.name),
                "write the same cvm_cluster_pin into both",
            );
        }
        let problem = match (&first.settings.secret, &other.settings.secret) {
            (Some(of_first), Some(of_other)) if of_first != of_other => {
                Some("another cvm_cluster_secret than")
            }
            (Some(_), None) => Some("no cvm_cluster_secret, unlike"),
            (None, Some(_)) => Some("a cvm_cluster_secret, unlike"),
            _ => None,
        };
        if let Some(problem) = problem {
            report.error(
                other.name.to_owned(),
                format!("it has {problem} {}, so that neither takes the values of the other", first.name),
                "write the same cvm_cluster_secret into both, or leave it out of both",
            );
        }
        if services(first) != services(other) {
            report.error(
                other.name.to_owned(),
                format!("its services ({}) are not those of {} ({})", shown(other), first.name, shown(first)),
                "write the same cvm_service_url into both",
            );
        }
    }
    if rest.is_empty() {
        return;
    }
    let masters: Vec<_> = contexts.iter().filter(|c| c.settings.role == Role::Master).collect();
    match masters.as_slice() {
        [_] => {}
        [] => report.warning(
            first.name.to_owned(),
            "none of these contexts is a master's, so that the slaves wait in vain",
            "add cvm_cluster_master=yes to one of them",
        ),
        [_, second, ..] => report.warning(
            second.name.to_owned(),
            format!("it is a master's context, and so is {}; a cluster has one master", masters[0].name),
            "take cvm_cluster_master out of one of them",
        ),
    }
}

fn services(context: &Context<'_>) -> BTreeSet<String> {
    context.settings.services.iter().map(ToString::to_string).collect()
}

fn shown(context: &Context<'_>) -> String {
    services(context).into_iter().collect::<Vec<_>>().join(", ")
}
