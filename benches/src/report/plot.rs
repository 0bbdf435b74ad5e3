//! Pictures: one SVG of horizontal bars a comparison, with the median as the bar and the repeats' range as a line.
//! Colours are of the page that shows it (`currentColor`), ours stands out.

use std::fmt::Write;

use super::results::{Results, Summary};
use super::table::number;
use crate::parts::names;

const WIDTH: f64 = 720.0;
const NAMES: f64 = 130.0;
const VALUES: f64 = 90.0;
const ROW: f64 = 26.0;
const HEAD: f64 = 40.0;

/// The file names and contents of all pictures whose figures are there.
pub(crate) fn pictures(results: &Results) -> Vec<(String, String)> {
    let crowd = names::waiters(names::CROWDS[0]);
    let mut wanted = vec![
        ("get-cpu", names::GETS.to_owned(), "server CPU, µs"),
        ("waiter-memory", crowd.clone(), "memory a waiter (RSS), KB"),
        ("waiter-cpu", crowd.clone(), "server CPU a woken waiter, µs"),
        ("waiter-last", crowd, "last woken, ms"),
        ("agent-wall", names::agent("https"), "wall, ms"),
        ("agent-memory", names::agent("https"), "peak memory, MB"),
    ];
    let writers = names::WRITERS[names::WRITERS.len() - 1];
    wanted.push(("writes", names::writes(writers), "acknowledged/s"));
    let summaries = results.summaries();
    let mut pictures = Vec::new();
    for (name, part, figure) in wanted {
        let bars: Vec<_> = summaries.iter().filter(|s| s.part == part && s.figure == figure).collect();
        if !bars.is_empty() {
            pictures.push((format!("{name}.svg"), picture(&format!("{part}: {figure}"), &bars)));
        }
    }
    pictures
}

fn picture(title: &str, bars: &[&Summary]) -> String {
    let height = HEAD + ROW * bars.len() as f64 + 6.0;
    let most = bars.iter().map(|bar| bar.greatest).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - NAMES - VALUES) / most;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"currentColor\">\n<title>{title}</title>\n\
         <style>svg{{color:#222}}@media(prefers-color-scheme:dark){{svg{{color:#ddd}}}}</style>\n\
         <text x=\"0\" y=\"20\" font-size=\"15\">{title}</text>\n"
    );
    for (row, bar) in bars.iter().enumerate() {
        let top = HEAD + ROW * row as f64;
        let (middle, text) = (top + 9.0, top + 14.0);
        let colour =
            if bar.subject.starts_with("ours") || bar.subject == "agent" { "#1f77b4" } else { "#8c8c8c" };
        let (end, from, to) = (bar.median * scale, NAMES + bar.least * scale, NAMES + bar.greatest * scale);
        writeln!(
            svg,
            "<text x=\"0\" y=\"{text:.1}\">{}</text>\
             <rect x=\"{NAMES}\" y=\"{top:.1}\" width=\"{end:.1}\" height=\"18\" fill=\"{colour}\"/>\
             <path d=\"M{from:.1} {middle:.1}H{to:.1}\" stroke=\"currentColor\"/>\
             <text x=\"{:.1}\" y=\"{text:.1}\">{}</text>",
            bar.subject,
            to + 6.0,
            number(bar.median)
        )
        .expect("a String takes everything");
    }
    svg.push_str("</svg>\n");
    svg
}
