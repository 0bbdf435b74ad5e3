//! How the demonstration looks: headlines, commands as a person would type them, and contexts before and after.

use std::io::IsTerminal;

/// What a line is to the reader.
#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Red,
    Green,
}

/// A part of the story begins.
pub(crate) fn headline(text: &str) {
    println!("\n{}", ink(Ink::Bold, &format!("== {text}")));
}

/// A command, as it would be typed on some machine.
pub(crate) fn command(machine: &str, line: &str) {
    println!("{}", ink(Ink::Bold, &format!("{machine}$ {line}")));
}

/// A context as it was written.
pub(crate) fn context(name: &str, text: &str) {
    println!("\n   {name}");
    for line in text.lines() {
        println!("   | {line}");
    }
}

/// What has become of it: the lines that changed, old and new.
pub(crate) fn changes(name: &str, before: &str, after: &str) {
    println!("\n   {name}");
    for (old, new) in before.lines().zip(after.lines()) {
        if old == new {
            println!("   | {new}");
        } else {
            println!("{}", ink(Ink::Red, &format!("   - {old}")));
            println!("{}", ink(Ink::Green, &format!("   + {new}")));
        }
    }
}

/// Colours are for terminals, and for those who have not said no (<https://no-color.org>).
fn ink(ink: Ink, text: &str) -> String {
    if !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
    {
        return text.to_owned();
    }
    let code = match ink {
        Ink::Bold => 1,
        Ink::Red => 31,
        Ink::Green => 32,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
