//! Values in what is no YAML: whether a shell takes each for what it is.

use super::{Insertion, Language, Unfit};
use crate::shell_words::{self, ShellPlace};

/// Whether the values fit into a text that is no YAML.
pub(super) fn check(language: Language, text: &[u8], insertions: &[Insertion<'_>]) -> Result<(), Unfit> {
    let spans = insertions.iter().map(|insertion| insertion.span.clone());
    let places = match language {
        Language::Script => shell_words::places(text, spans),
        _ => spans.map(|span| shell_words::place_in_line(text, span.start)).collect(),
    };
    insertions.iter().zip(places).try_for_each(|(insertion, place)| in_place(insertion, place))
}

fn in_place(insertion: &Insertion<'_>, place: ShellPlace) -> Result<(), Unfit> {
    let value = insertion.value;
    let next = "put the placeholder within quotes, or publish another value";
    match place {
        ShellPlace::Free => Ok(()),
        ShellPlace::Word { .. } if value.contains(' ') => {
            Err(Unfit::new(insertion, "has a blank in it, and would be more than one word there", next))
        }
        ShellPlace::Word { .. } if value.contains('~') => {
            Err(Unfit::new(insertion, "has a '~' in it, which a shell may take for a directory there", next))
        }
        ShellPlace::Word { is_start: true } | ShellPlace::Quoted { is_start: true }
            if value.starts_with('-') =>
        {
            Err(Unfit::new(
                insertion,
                "begins with '-', and would be an option there",
                "put the option's name and '=' before the placeholder, or publish another value",
            ))
        }
        ShellPlace::Word { .. } | ShellPlace::Quoted { .. } => Ok(()),
    }
}
