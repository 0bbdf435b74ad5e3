//! What the unit tests of several parts need.

use context::document::Document;
use context::settings::{FoundSection, Settings};

/// The settings of a context that has this pin and sets nothing else.
pub(crate) fn settings(pin: &str) -> Settings {
    let context = format!("[ucernvm-begin]\ncvm_cluster_pin={pin}\n[ucernvm-end]\n");
    let section = Document::parse("context", context.into_bytes()).unwrap().section().unwrap();
    let Ok(FoundSection::Cluster(settings)) = Settings::from_sections(section.as_slice()) else {
        panic!("{pin} is no pin")
    };
    settings
}
