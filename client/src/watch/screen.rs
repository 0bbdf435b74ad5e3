//! A view of a cluster on standard output: a table that is drawn over itself on a terminal, a line for each change
//! elsewhere, or JSON.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::io;

use protocol::node::NodeState;
use protocol::utc::Utc;

use super::print;
use super::view::{ClusterView, Link};

/// Where standard output says nothing of its size.
const SIZE: (usize, usize) = (80, 24);
/// Rows around those of the nodes: the head of the table, how many are left out, and the prompt.
const ROWS_AROUND: usize = 3;
/// Fewest nodes that are shown, where there are so many.
const FEWEST: usize = 3;

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
    pub(super) fn show(&mut self, view: &ClusterView, now: Utc) {
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
fn changes(view: &ClusterView, said: &mut BTreeMap<String, String>, now: Utc) -> String {
    let mut facts = vec![("link".to_owned(), link(view))];
    if view.expires.is_some() {
        facts.push(("".to_owned(), view.headline()));
        facts.push(("keys".to_owned(), keys(view)));
        facts.extend(view.refused().map(|(why, count)| (format!("left out: {why}"), entries(count))));
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
            let _ = writeln!(lines, "{now} {}", printable(&format!("{of_what}{fact}")));
            said.insert(of, fact);
        }
    }
    lines
}

fn link(view: &ClusterView) -> String {
    match &view.link {
        Link::Connecting => "connecting".to_owned(),
        Link::Live => "live".to_owned(),
        Link::Lost(loss) => format!("lost ({}), trying again; {}", loss.cause, loss.next),
    }
}

fn keys(view: &ClusterView) -> String {
    let keys: Vec<_> = view.keys().collect();
    if keys.is_empty() { "none".to_owned() } else { keys.join(", ") }
}

fn entries(count: usize) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// Text that a terminal does not obey: every holder of the pin may write an address.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Text in lines that are shorter than the terminal is wide, but for words that are not.
fn folded(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one");
        if !line.is_empty() && line.chars().count() + word.chars().count() + 2 > columns {
            lines.push(format!("  {word}"));
        } else {
            *line += if line.is_empty() { "" } else { " " };
            *line += word;
        }
    }
    lines
}

/// The whole view, in lines no longer than the terminal is wide, since one that is broken would count twice.
fn picture(view: &ClusterView, now: Utc, columns: usize, rows: usize, coloured: bool) -> String {
    let mut lines: Vec<(Colour, String)> = Vec::new();
    let headline = match view.link {
        Link::Live => view.headline(),
        Link::Lost(_) if view.expires.is_some() => format!("{} (as it was)", view.headline()),
        Link::Connecting | Link::Lost(_) => "connecting".to_owned(),
    };
    let is_good = view.is_ready(None);
    lines.push((if is_good { Colour::Good } else { Colour::Bold }, format!("{}  {headline}", view.pin)));
    if let Link::Lost(loss) = &view.link {
        for text in [format!("no connection: {}; trying again", loss.cause), format!("next: {}", loss.next)] {
            lines.extend(folded(&text, columns).into_iter().map(|line| (Colour::Bad, line)));
        }
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
    for (why, count) in view.refused() {
        let text = format!("left out {}: {why}", entries(count));
        lines.extend(folded(&text, columns).into_iter().map(|line| (Colour::Busy, line)));
    }
    lines.extend(node_rows(view, rows.saturating_sub(lines.len() + ROWS_AROUND).max(FEWEST)));
    let mut text = String::new();
    for (colour, line) in lines {
        let line: String = printable(&line).chars().take(columns.saturating_sub(1)).collect();
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
fn in_time(expires: &str, now: Utc) -> String {
    let Some(expires) = Utc::parse(expires) else { return String::new() };
    let minutes = expires.seconds().saturating_sub(now.seconds()) / 60;
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
    use super::super::view::Loss;
    use super::super::view::tests::{key, view};
    use super::*;

    /// 2026-11-27T01:00:00Z.
    const NOW: Utc = Utc(1_795_741_200_000_000);

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
        assert!(picture.ends_with("and 84 more\n"), "{picture}");
    }

    #[test]
    fn a_terminal_obeys_nothing_of_a_cluster() {
        let keys = ["master_ip", "master\u{9b}2J"].map(|name| key(name, Some("10.0.0.1\u{1b}[2J\r\n")));
        let evil = view(keys.to_vec(), &[]);
        let shown = picture(&evil, NOW, 80, 24, false) + &changes(&evil, &mut BTreeMap::new(), NOW);
        assert!(shown.contains("10.0.0.1\u{fffd}[2J"), "{shown:?}");
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    }

    #[test]
    fn advice_is_not_cut_off() {
        let mut lost = ready();
        let next = "check cvm_service_url, and that TCP 192.0.2.1:8000 is open from this VM".to_owned();
        lost.link = Link::Lost(Loss { cause: "connection refused".to_owned(), next });
        let shown = picture(&lost, NOW, 50, 24, false);
        assert!(
            shown.contains("next: check cvm_service_url, and that TCP\n  192.0.2.1:8000 is open"),
            "{shown}"
        );
        assert!(shown.starts_with("enic…  1 of 3 nodes failed (as it was)\n"), "{shown}");
        let mut never = ClusterView::new("enic…".to_owned(), None);
        never.link = lost.link;
        assert!(picture(&never, NOW, 50, 24, false).starts_with("enic…  connecting\nno connection: "));
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
        later.link = Link::Lost(Loss { cause: "connection refused".to_owned(), next: "wait".to_owned() });
        let lines = changes(&later, &mut said, NOW);
        assert!(lines.ends_with("Z link: lost (connection refused), trying again; wait\n"), "{lines}");
    }
}
