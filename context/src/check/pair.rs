//! What several contexts of one cluster do not have in common.

use std::collections::BTreeSet;

use super::Report;
use crate::document::Document;
use crate::settings::{Found, Role, Settings};

/// What counts of a context when it is compared with others.
pub(super) struct Context {
    name: String,
    settings: Settings,
}

impl Context {
    /// `None` when it has no section that can be read; that is said elsewhere.
    pub(super) fn of(document: &Document) -> Option<Self> {
        let section = document.section().ok()??;
        match Settings::from_sections(std::slice::from_ref(&section)) {
            Ok(Found::Cluster(settings)) => Some(Self { name: document.name().to_owned(), settings }),
            _ => None,
        }
    }
}

/// Compares each context with the first one.
pub(super) fn check(contexts: &[Context], report: &mut Report) {
    let [first, rest @ ..] = contexts else { return };
    for other in rest {
        if first.settings.pin != other.settings.pin {
            report.error(
                other.name.clone(),
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
                other.name.clone(),
                format!("it has {problem} {}, so that neither takes the values of the other", first.name),
                "write the same cvm_cluster_secret into both, or leave it out of both",
            );
        }
        if services(first) != services(other) {
            report.error(
                other.name.clone(),
                format!("its services ({}) are not those of {} ({})", shown(other), first.name, shown(first)),
                "write the same cvm_service_url into both",
            );
        }
    }
    if rest.is_empty() {
        return;
    }
    let masters: Vec<&Context> = contexts.iter().filter(|c| c.settings.role == Role::Master).collect();
    match masters.as_slice() {
        [_] => {}
        [] => report.warning(
            first.name.clone(),
            "none of these contexts is a master's, so that the slaves wait in vain",
            "add cvm_cluster_master=yes to one of them",
        ),
        [_, second, ..] => report.warning(
            second.name.clone(),
            format!("it is a master's context, and so is {}; a cluster has one master", masters[0].name),
            "take cvm_cluster_master out of one of them",
        ),
    }
}

fn services(context: &Context) -> BTreeSet<String> {
    context.settings.services.iter().map(ToString::to_string).collect()
}

fn shown(context: &Context) -> String {
    services(context).into_iter().collect::<Vec<_>>().join(", ")
}
