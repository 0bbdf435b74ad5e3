//! A view of a cluster on standard output: a table that is drawn over itself on a terminal, a line for each change
//! elsewhere, or JSON.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::io;

use protocol::node::NodeState;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::print;
use super::view::{ClusterView, Link};
use crate::clock::Timestamp;

/// Where standard output says nothing of its size.
const SIZE: (usize, usize) = (80, 24);
/// Rows that are no nodes: the headline, the master, keys, the head of the table, what is left out, and the prompt.
const OTHER_ROWS: usize = 9;

/// How a view is shown.
pub(super) struct Screen {
    form: Form,
    /// What was shown last.
    shown: String,
}

enum Form {
    Json,
    /// What was said of the cluster, and of each node.
    Lines(BTreeMap<String, String>),
    Terminal {
        coloured: bool,
    },
}

impl Screen {
    /// One JSON object in a line, at each change.
    pub(super) fn json() -> Self {
        Self { form: Form::Json, shown: String::new() }
    }

    /// A line for each change.
    pub(super) fn lines() -> Self {
        Self { form: Form::Lines(BTreeMap::new()), shown: String::new() }
    }

    /// A table, in colours unless `NO_COLOR` is set (no-color.org).
    pub(super) fn terminal() -> Self {
        let coloured = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { form: Form::Terminal { coloured }, shown: String::new() }
    }

    /// Shows it, where it is another one than before.
    pub(super) fn show(&mut self, view: &ClusterView, now: Timestamp) {
        match &mut self.form {
            Form::Json => {
                let mut json = view.to_json();
                let text = json.to_string();
                if text != self.shown && view.expires.is_some() {
                    self.shown = text;
                    json["time"] = now.to_string().into();
                    print(&format!("{json}\n"));
                }
            }
            Form::Lines(said) => print(&changes(view, said, now)),
            Form::Terminal { coloured } => {
                let (columns, rows) = size();
                let picture = picture(view, now, columns, rows, *coloured);
                if picture != self.shown {
                    print(&over(&self.shown, &picture));
                    self.shown = picture;
                }
            }
        }
    }
}

/// A picture in the place of the one before: the cursor goes up, and what is left below is cleared.
fn over(before: &str, picture: &str) -> String {
    match before.lines().count() {
        0 => picture.to_owned(),
        lines => format!("\x1b[{lines}A\x1b[0J{picture}"),
    }
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => SIZE,
    }
}

/// The lines for what is new since they were said.
fn changes(view: &ClusterView, said: &mut BTreeMap<String, String>, now: Timestamp) -> String {
    let mut facts = vec![("link".to_owned(), link(view))];
    if view.expires.is_some() {
        facts.push(("".to_owned(), view.headline()));
        facts.push(("keys".to_owned(), keys(view)));
    }
    for (id, member) in view.nodes() {
        let report = &member.report;
        let detail = if report.detail.is_empty() { String::new() } else { format!(" ({})", report.detail) };
        let state = format!("{} is {}{detail}", report.role.as_str(), report.state.as_str());
        facts.push((format!("node {}", member.label(id)), state));
    }
    let mut lines = String::new();
    for (of, fact) in facts {
        if said.get(&of) != Some(&fact) {
            let of_what = if of.is_empty() { String::new() } else { format!("{of}: ") };
            let _ = writeln!(lines, "{now} {of_what}{fact}");
            said.insert(of, fact);
        }
    }
    lines
}

fn link(view: &ClusterView) -> String {
    match &view.link {
        Link::Connecting => "connecting".to_owned(),
        Link::Live => "live".to_owned(),
        Link::Lost(why) => format!("lost ({why}), trying again"),
    }
}

fn keys(view: &ClusterView) -> String {
    if view.keys.is_empty() {
        return "none".to_owned();
    }
    view.keys.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The whole view, in lines no longer than the terminal is wide, since one that is broken would count twice.
fn picture(view: &ClusterView, now: Timestamp, columns: usize, rows: usize, coloured: bool) -> String {
    let mut lines: Vec<(Colour, String)> = Vec::new();
    let headline = match view.link {
        Link::Live => view.headline(),
        Link::Connecting => "connecting".to_owned(),
        Link::Lost(_) => format!("{} (as it was)", view.headline()),
    };
    let is_good = view.is_ready(None);
    lines.push((if is_good { Colour::Good } else { Colour::Bold }, format!("{}  {headline}", view.pin)));
    if let Link::Lost(why) = &view.link {
        lines.push((Colour::Bad, format!("connection lost: {why}; trying again")));
    }
    if let Some(expires) = &view.expires {
        lines.push((Colour::Plain, format!("expires  {expires}{}", in_time(expires, now))));
    }
    let master = match (view.address(), view.ready_since()) {
        (None, _) => "not there yet".to_owned(),
        (Some(address), None) => format!("{address}, not ready yet"),
        (Some(address), Some(since)) => format!("{address}, ready since {since}"),
    };
    lines.push((Colour::Plain, format!("master   {master}")));
    lines.push((Colour::Plain, format!("keys     {}", keys(view))));
    lines.push((Colour::Plain, format!("waiting  {}", view.waiting)));
    lines.extend(node_rows(view, rows.saturating_sub(OTHER_ROWS).max(3)));
    let mut text = String::new();
    for (colour, line) in lines {
        let line: String = line.chars().take(columns.saturating_sub(1)).collect();
        let line = line.trim_end();
        match colour.code() {
            Some(code) if coloured => {
                let _ = writeln!(text, "\x1b[{code}m{line}\x1b[0m");
            }
            _ => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

/// The table of nodes, in at most so many rows.
fn node_rows(view: &ClusterView, most: usize) -> Vec<(Colour, String)> {
    let nodes = view.nodes();
    if nodes.is_empty() {
        return Vec::new();
    }
    let cell = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let mut lines = vec![(
        Colour::Bold,
        format!("{:<24} {:<7} {:<8} {:<16} {}", "NODE", "ROLE", "STATE", "ADDRESS", "DETAIL"),
    )];
    for (id, member) in nodes.iter().take(most) {
        let report = &member.report;
        let address = report.addresses.first().map_or("", |address| address);
        let line = format!(
            "{:<24} {:<7} {:<8} {:<16} {}",
            cell(member.label(id), 24),
            report.role.as_str(),
            report.state.as_str(),
            cell(address, 39),
            report.detail
        );
        lines.push((Colour::of(report.state), line));
    }
    if nodes.len() > most {
        lines.push((Colour::Plain, format!("and {} more", nodes.len() - most)));
    }
    lines
}

/// How long it is until then: ` (in 3 h 20 min)`.
fn in_time(expires: &str, now: Timestamp) -> String {
    let Ok(expires) = OffsetDateTime::parse(expires, &Rfc3339) else { return String::new() };
    let now = i64::try_from(now.0 / 1_000_000).unwrap_or(i64::MAX);
    let minutes = (expires.unix_timestamp() - now).max(0) / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!(" (in {minutes} min)"),
        (hours, minutes) => format!(" (in {hours} h {minutes} min)"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Plain,
    Bold,
    Good,
    Busy,
    Bad,
}

impl Colour {
    fn of(state: NodeState) -> Self {
        match state {
            NodeState::Ready => Self::Good,
            NodeState::Joined => Self::Plain,
            NodeState::Waiting => Self::Busy,
            NodeState::Failed => Self::Bad,
        }
    }

    /// Its code in ECMA-48's "select graphic rendition".
    fn code(self) -> Option<u8> {
        match self {
            Self::Plain => None,
            Self::Bold => Some(1),
            Self::Good => Some(32),
            Self::Busy => Some(33),
            Self::Bad => Some(31),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{key, view};
    use super::*;

    /// 2026-11-27T01:00:00Z.
    const NOW: Timestamp = Timestamp(1_795_741_200_000_000);

    fn ready() -> ClusterView {
        let keys = ["master_ip", "master_ready"].map(|name| key(name, Some("10.0.0.1")));
        view(keys.to_vec(), &[("a", "ready"), ("b", "failed"), ("c", "waiting")])
    }

    #[test]
    fn a_picture_shows_master_keys_waits_and_nodes() {
        let expected = "\
enic…  1 of 3 nodes failed
expires  2026-11-28T01:00:00.000000Z (in 24 h 0 min)
master   10.0.0.1, ready since 2026-11-27T01:00:00.000000Z
keys     master_ip, master_ready
waiting  2
NODE                     ROLE    STATE    ADDRESS          DETAIL
b                        slave   failed   10.0.0.3
c                        slave   waiting  10.0.0.3
a                        slave   ready    10.0.0.3
";
        assert_eq!(picture(&ready(), NOW, 80, 24, false), expected);
        let coloured = picture(&ready(), NOW, 80, 24, true);
        assert!(coloured.contains("\x1b[31mb   "), "{coloured}");
    }

    #[test]
    fn a_picture_fits_on_the_terminal() {
        let names: Vec<String> = (0..100).map(|n| format!("n{n:03}")).collect();
        let nodes: Vec<_> = names.iter().map(|name| (name.as_str(), "ready")).collect();
        let picture = picture(&view(Vec::new(), &nodes), NOW, 40, 24, false);
        assert!(picture.lines().count() < 24, "{picture}");
        assert!(picture.lines().all(|line| line.chars().count() < 40), "{picture}");
        assert!(picture.ends_with("and 85 more\n"), "{picture}");
    }

    #[test]
    fn a_picture_goes_over_the_one_before() {
        assert_eq!(over("", "a\nb\n"), "a\nb\n");
        assert_eq!(over("a\nb\n", "c\n"), "\x1b[2A\x1b[0Jc\n");
    }

    #[test]
    fn lines_say_what_is_new_once() {
        let mut said = BTreeMap::new();
        let first = changes(&ready(), &mut said, NOW);
        assert_eq!(first.lines().count(), 6, "{first}");
        assert!(first.contains("Z node b: slave is failed\n"), "{first}");
        assert_eq!(changes(&ready(), &mut said, NOW), "");
        let mut later = ready();
        later.link = Link::Lost("connection refused".to_owned());
        let lines = changes(&later, &mut said, NOW);
        assert!(lines.ends_with("Z link: lost (connection refused), trying again\n"), "{lines}");
    }
}
