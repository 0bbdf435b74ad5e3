//! Where a placeholder stands for a shell: in a word, within quotes, in a comment, or in a here-document.
//!
//! The scanner knows POSIX's quoting (Shell Command Language, section 2.2), `$'…'`, comments, here-documents and
//! commands in commands. It knows no grammar beyond that.

use std::ops::Range;

/// A place in a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShellPlace {
    /// No shell divides or expands what stands there.
    Free,
    /// In a word outside quotes.
    Word {
        /// Whether it begins an argument.
        is_start: bool,
    },
    /// Within quotes.
    Quoted {
        /// Whether it begins an argument.
        is_start: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    /// Commands: the script itself, `$(…)`, `(…)` or backquotes.
    Commands,
    Backquotes,
    Double,
    Single,
    /// `$'…'`, in which a backslash quotes.
    AnsiC,
}

/// The places of placeholders, given their bytes, in order. A shell would take their hashes for comments.
pub(crate) fn places(script: &[u8], placeholders: impl Iterator<Item = Range<usize>>) -> Vec<ShellPlace> {
    let mut scanner =
        Scanner { script, at: 0, word: 0, stack: vec![Quoting::Commands], documents: Vec::new(), free: None };
    let place = |span: Range<usize>| {
        let place = scanner.place(span.start);
        scanner.at = scanner.at.max(span.end);
        place
    };
    placeholders.map(place).collect()
}

/// The place of an offset in a text of which only its line is looked at: what has a `=` before it may be an assignment
/// that a shell sources.
pub(crate) fn place_in_line(text: &[u8], offset: usize) -> ShellPlace {
    let before = &text[..offset];
    let word = before.iter().rposition(|b| b.is_ascii_whitespace()).map_or(0, |at| at + 1);
    assigned(&before[word..])
}

/// The place after the beginning of a word.
fn assigned(word: &[u8]) -> ShellPlace {
    match word.iter().position(|b| *b == b'=') {
        Some(at) if !word[at..].iter().any(|b| matches!(b, b'"' | b'\'')) => {
            ShellPlace::Word { is_start: false }
        }
        _ => ShellPlace::Free,
    }
}

struct Scanner<'s> {
    script: &'s [u8],
    at: usize,
    /// Where the word began that `at` is in.
    word: usize,
    stack: Vec<Quoting>,
    /// The ends of the here-documents that begin after this line, and whether tabs before the end count.
    documents: Vec<(Vec<u8>, bool)>,
    /// To which offset comments and here-documents go, and whether it is a here-document.
    free: Option<(usize, bool)>,
}

impl Scanner<'_> {
    fn place(&mut self, offset: usize) -> ShellPlace {
        while self.at < offset {
            self.step();
        }
        match self.free.filter(|(end, _)| offset < *end) {
            Some((_, true)) => return place_in_line(self.script, offset),
            Some((_, false)) => return ShellPlace::Free,
            None => {}
        }
        let word = &self.script[self.word.min(offset)..offset];
        match self.stack.last() {
            Some(Quoting::Double | Quoting::Single | Quoting::AnsiC) => {
                // Another shell may read what is within the quotes.
                let from = word.iter().rposition(|b| matches!(b, b' ' | b'\t' | b'\n' | b'"' | b'\''));
                let inner = &word[from.map_or(0, |at| at + 1)..];
                match assigned(inner) {
                    ShellPlace::Free => ShellPlace::Quoted { is_start: matches!(word, b"\"" | b"'" | b"$'") },
                    place => place,
                }
            }
            _ => ShellPlace::Word { is_start: word.is_empty() },
        }
    }

    /// Takes the next byte, or the comment or here-document that begins there.
    fn step(&mut self) {
        let byte = self.script[self.at];
        let next = self.script.get(self.at + 1).copied();
        let around = self.stack.last().copied().unwrap_or(Quoting::Commands);
        match (around, byte) {
            (Quoting::Single, b'\'') | (Quoting::AnsiC, b'\'') | (Quoting::Double, b'"') => {
                self.stack.pop();
            }
            (Quoting::Single, _) => {}
            (_, b'\\') => self.at += 1,
            (Quoting::AnsiC, _) => {}
            (_, b'$') if next == Some(b'(') => {
                self.at += 1;
                self.open(Quoting::Commands);
            }
            (Quoting::Backquotes, b'`') => {
                self.stack.pop();
            }
            (_, b'`') => self.open(Quoting::Backquotes),
            (Quoting::Double, _) => {}
            (_, b'$') if next == Some(b'\'') => {
                self.at += 1;
                self.stack.push(Quoting::AnsiC);
            }
            (_, b'\'') => self.stack.push(Quoting::Single),
            (_, b'"') => self.stack.push(Quoting::Double),
            (_, b'(') => self.open(Quoting::Commands),
            (_, b')') => {
                if self.stack.len() > 1 {
                    self.stack.pop();
                }
                self.word = self.at + 1;
            }
            (_, b'#') if self.word == self.at => {
                let end = self.line_end(self.at);
                self.free = Some((end, false));
                self.at = end;
                return;
            }
            (_, b'<') if next == Some(b'<') => {
                self.here_document();
                return;
            }
            (_, b'\n') => {
                self.at += 1;
                self.word = self.at;
                self.skip_documents();
                return;
            }
            (_, b' ' | b'\t' | b';' | b'&' | b'|' | b'<' | b'>') => self.word = self.at + 1,
            _ => {}
        }
        self.at += 1;
    }

    fn open(&mut self, around: Quoting) {
        self.stack.push(around);
        self.word = self.at + 1;
    }

    /// The redirection `<<END`, `<<-END` or `<<'END'`; `<<<` is a word.
    fn here_document(&mut self) {
        self.at += 2;
        self.word = self.at;
        let rest = &self.script[self.at..];
        if rest.starts_with(b"<") {
            self.at += 1;
            self.word = self.at;
            return;
        }
        let strips = rest.starts_with(b"-");
        let rest = &rest[usize::from(strips)..];
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let word = &rest[blanks..];
        let length = word
            .iter()
            .position(|b| b.is_ascii_whitespace() || matches!(b, b';' | b'&' | b'|' | b'<' | b'>' | b')'))
            .unwrap_or(word.len());
        let end: Vec<u8> =
            word[..length].iter().copied().filter(|b| !matches!(b, b'\'' | b'"' | b'\\')).collect();
        // `$((1 << 2))` is none.
        if end.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_') {
            self.documents.push((end, strips));
            self.at += usize::from(strips) + blanks + length;
        }
    }

    fn skip_documents(&mut self) {
        for (end, strips) in std::mem::take(&mut self.documents) {
            while self.at < self.script.len() {
                let line_end = self.line_end(self.at);
                let line = &self.script[self.at..line_end];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let tabs = if strips { line.iter().take_while(|b| **b == b'\t').count() } else { 0 };
                self.at = (line_end + 1).min(self.script.len());
                if line[tabs..] == end[..] {
                    break;
                }
            }
            self.free = Some((self.at, true));
        }
        self.word = self.at;
    }

    fn line_end(&self, from: usize) -> usize {
        let rest = &self.script[from..];
        from + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `@` marks the place.
    #[track_caller]
    fn check(script: &str, expected: ShellPlace) {
        let offset = script.find('@').unwrap();
        assert_eq!(places(script.as_bytes(), std::iter::once(offset..offset + 1)), [expected], "{script}");
    }

    #[test]
    fn knows_words_and_quotes() {
        for script in [
            "TOKEN=@",
            "a b=@",
            "x 'a'@",
            "\"$(x a@)\"",
            "\"`x a@`\"",
            "a \\\"b@",
            "cat <<<a@",
            "x # it's\ny z@",
        ] {
            check(script, ShellPlace::Word { is_start: false });
        }
        for script in
            ["@", "x @", "x 'a' @", "x;@", "\"$(x @)\"", "cat <<EOF\nit's\nEOF\nx @", "$((1 << 2)) @"]
        {
            check(script, ShellPlace::Word { is_start: true });
        }
        for script in ["A=\"@\"", "A='@", "x \"a @", "x \"$(y) @\"", "x $'\\'@'", "echo \"A='@'\""] {
            check(script, ShellPlace::Quoted { is_start: false });
        }
        for script in ["x \"@\"", "x '@'"] {
            check(script, ShellPlace::Quoted { is_start: true });
        }
    }

    #[test]
    fn knows_what_a_shell_does_not_read() {
        for script in ["# it is @", "x # @", "cat <<EOF\nhello @\nEOF\n", "cat <<-'E'\n\ta @\n\tE\n"] {
            check(script, ShellPlace::Free);
        }
    }

    #[test]
    fn takes_an_assignment_within_text_for_one() {
        for script in ["cat >f <<EOF\nA=@\nEOF", "echo \"A=@\" >f", "sh -c 'A=@ b'"] {
            check(script, ShellPlace::Word { is_start: false });
        }
        for (text, place) in [
            ("A=@", ShellPlace::Word { is_start: false }),
            ("x --a=b@", ShellPlace::Word { is_start: false }),
            ("A=\"@", ShellPlace::Free),
            ("A = @", ShellPlace::Free),
            ("hello @", ShellPlace::Free),
        ] {
            assert_eq!(place_in_line(text.as_bytes(), text.find('@').unwrap()), place, "{text}");
        }
    }

    proptest! {
        #[test]
        fn takes_any_script(script in "[ab=@ \n'\"`$()<>#\\\\;E-]{0,60}") {
            let offsets = script.match_indices('@').map(|(at, _)| at..at + 1);
            let count = offsets.clone().count();
            prop_assert_eq!(places(script.as_bytes(), offsets).len(), count);
        }
    }
}
