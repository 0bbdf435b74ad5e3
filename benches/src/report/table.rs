//! The report as a page of Markdown: the goals, then every figure, then what is missing.

use std::fmt::Write;

use super::Report;
use super::goals::{Bound, Goal, Limit, goals};
use super::results::Summary;

/// How each part was measured: one sentence under its heading.
const HOW: [(&str, &str); 14] = [
    (
        "GET of",
        "Closed loop over 16 keep-alive connections, 3 s a turn; CPU is the server process's own clock \
         (clock_getcpuclockid), divided by the answers. All HTTP peers but etcd send the service's answer byte by byte.",
    ),
    (
        "a connection for each",
        "10,000 GETs one after the other, each on a connection of its own; over https with a full handshake (TLS 1.3, an \
         ECDSA key on P-256), no session resumed.",
    ),
    (
        "instructions per GET",
        "callgrind, one client, the difference of a run of 4000 and one of 1000 requests divided by 3000; user space \
         only.",
    ),
    (
        "durable",
        "New keys under random ones of 20,000 pins, 3 s a turn, each acknowledged after it is on the disk. redis: SET \
         with appendfsync always; etcd: put through its JSON gateway.",
    ),
    (
        "durable writes in etcd",
        "New keys under random ones of 1,000 pins, 3 s a turn. etcd has one core and whatever asks it another. Bare etcd: \
         a put of a key of its own, by the service's client crate over one connection.",
    ),
    (
        "linearizable reads",
        "The same key all the time, 3 s a turn. etcd has one core and whatever asks it another. Bare etcd: a range request, \
         by the service's client crate over one connection.",
    ),
    (
        "waiters",
        "Each waiter has a connection of its own and asks once; then one write. Memory is the growth of the server \
         process in /proc/PID/smaps_rollup, a waiter; times are from sending the write to reading the answers. redis: \
         SUBSCRIBE and PUBLISH; nchan: long poll; etcd: watch and put.",
    ),
    (
        "live pins",
        "The same service with 1,000 and with 1,000,000 pins, one key each: 16 clients that GET it, then 16 that POST new \
         keys, at random pins. Start-up is from starting the process to `listening on`, file in the page cache.",
    ),
    (
        "expiring",
        "8 clients GET and 8 POST at 10,000 other pins for 10 s, before and while 1,000,000 pins expire in one instant; 3 \
         repeats.",
    ),
    (
        "abuse",
        "8 clients GET and 8 POST for 5 s, alone and then beside 5,000 connections that send a byte every 3 s, 100 new ones \
         a second that send garbage, and 200 guesses of a pin a second from the same address. The abuse comes from the \
         load client's core, which can only make the figures worse.",
    ),
    (
        "master-ready",
        "From starting `cernvm-cluster-agent master-ready` to the rename that puts the substituted file in its \
         place, seen with inotify; the slave was waiting. All on loopback.",
    ),
    (
        "slave over http",
        "The data are there: from starting the program to its end, with a fresh root each time. CPU from wait4(2); peak \
         memory is the largest VmHWM of its processes, read at their exit.",
    ),
    ("slave over https", "The same with TLS and a CA of its own."),
    ("size", "The static binary of the profile `agent`, and what gzip -9 makes of it."),
];

/// Writes the page.
pub(crate) fn page(report: &Report) -> String {
    let mut page = String::new();
    let mut line = |text: &str| {
        page.push_str(text);
        page.push('\n');
    };
    line("# Report\n");
    head(report, &mut line);
    line("\n## Goals\n");
    line("| what | whose | reached | goal | | beyond | |");
    line("|---|---|---:|---:|---|---:|---|");
    for goal in goals() {
        line(&goal_row(report, &goal));
    }
    let summaries = report.results.summaries();
    let mut part = "";
    for summary in &summaries {
        if summary.part != part {
            part = &summary.part;
            line(&format!("\n## {part}\n"));
            if let Some((_, how)) = HOW.iter().rev().find(|(word, _)| part.contains(word)) {
                line(&format!("{how}\n"));
            }
            part_table(report, part, &summaries, &mut line);
        }
    }
    if !report.results.gaps.is_empty() {
        line("\n## Not measured\n");
        for gap in &report.results.gaps {
            line(&format!("- {}, {}: {}", gap.part, gap.subject, gap.why));
        }
    }
    page
}

fn head(report: &Report, line: &mut impl FnMut(&str)) {
    let machine = &report.machine;
    line(&format!(
        "{}, {} cores, {:.0} GB, Linux {}; appending 4 KiB and fdatasync: {:.0} µs; load when it began: {:.2}.",
        machine.processor,
        machine.cores,
        machine.memory_gb,
        machine.kernel,
        machine.fdatasync_us,
        machine.load_at_start
    ));
    line(match machine.shared_core {
        true => "Server and client shared the one core.",
        false => {
            "The server has one core, the load client another; whatever the server's process does counts for it."
        }
    });
    line(&format!(
        "Medians of {} repeats, which were interleaved; a ratio is the median of the ratios within a repeat.",
        report.plan.repeats
    ));
    if report.plan.quick {
        line("**A quick run: it shows that everything works, its figures mean nothing.**");
    }
    for version in &report.versions {
        line(&format!("- {version}"));
    }
}

fn goal_row(report: &Report, goal: &Goal) -> String {
    let reached = goal.goal.reached(goal, &report.results);
    let verdict = |reached: Option<(f64, bool)>| match reached {
        Some((_, true)) => "yes",
        Some((_, false)) => "no",
        None => "?",
    };
    let mut row = format!(
        "| {}: {} | {} | {} | {} | {} |",
        goal.part,
        goal.figure,
        goal.subject,
        reached.map_or_else(|| "not measured".into(), |(value, _)| with_unit(value, &goal.goal)),
        bound(&goal.goal),
        verdict(reached)
    );
    let beyond = goal.beyond.map_or_else(
        || " | |".into(),
        |beyond| format!(" {} | {} |", bound(&beyond), verdict(beyond.reached(goal, &report.results))),
    );
    row.push_str(&beyond);
    row
}

fn with_unit(value: f64, bound: &Bound) -> String {
    match bound.against {
        Some(against) => format!("{} × {against}", number(value)),
        None => number(value),
    }
}

fn bound(bound: &Bound) -> String {
    match bound.limit {
        Limit::AtMost(limit) => format!("≤ {}", with_unit(limit, bound)),
        Limit::AtLeast(limit) => format!("≥ {}", with_unit(limit, bound)),
    }
}

/// One row a subject, one column a figure, in each the median and how far the repeats went.
fn part_table(report: &Report, part: &str, summaries: &[Summary], line: &mut impl FnMut(&str)) {
    let of_part = || summaries.iter().filter(|s| s.part == part);
    let mut figures: Vec<&str> = Vec::new();
    let mut subjects: Vec<&str> = Vec::new();
    for summary in of_part() {
        if !figures.contains(&&*summary.figure) {
            figures.push(&summary.figure);
        }
        if !subjects.contains(&&*summary.subject) {
            subjects.push(&summary.subject);
        }
    }
    line(&format!("| | {} |", figures.join(" | ")));
    line(&format!("|---|{}", "---:|".repeat(figures.len())));
    for subject in subjects {
        let mut row = format!("| {subject} |");
        for figure in &figures {
            let cell = of_part().find(|s| s.subject == subject && s.figure == *figure);
            write!(row, " {} |", cell.map_or_else(String::new, |s| cell_text(report, s)))
                .expect("a String takes everything");
        }
        line(&row);
    }
}

/// `12.3 (11.9 to 13.0; 0.85 of ours)`.
fn cell_text(report: &Report, summary: &Summary) -> String {
    let mut notes = Vec::new();
    if summary.repeats > 1 {
        notes.push(format!("{} to {}", number(summary.least), number(summary.greatest)));
    }
    let Summary { part, figure, subject, .. } = summary;
    if subject != "ours"
        && let Some(ratio) = report.results.ratio(part, figure, subject, "ours")
        && ratio.is_finite()
    {
        notes.push(format!("{} × ours", number(ratio)));
    }
    match notes.len() {
        0 => number(summary.median),
        _ => format!("{} ({})", number(summary.median), notes.join("; ")),
    }
}

/// Three digits that count, thousands set apart.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((&*text, None), |(w, f)| (w, Some(f)));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or_else(|| grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_for_people() {
        for (value, text) in [
            (0.123, "0.12"),
            (9.99, "9.99"),
            (9.999, "10.0"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1234.0, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-123.0, "-123"),
            (-1234.0, "-1,234"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
