//! The report: tables in Markdown, as they stand in docs/capacity.md.

use crate::inputs::Inputs;
use crate::scenario::Scenario;
use crate::simulation::RunResult;
use crate::time::{Micros, SECOND};

/// Memory of the process without connections, MB.
const EMPTY_MB: f64 = 10.0;

/// The inputs, with where they come from.
pub(crate) fn inputs(inputs: &Inputs) -> String {
    let row = |figure: &crate::inputs::Figure| {
        format!("| {} | {} | {} |\n", figure.name, number(figure.value), figure.source)
    };
    let rows: String = inputs.all().into_iter().map(row).collect();
    format!("| input | value | from |\n|---|---|---|\n{rows}")
}

/// The head of a table of runs. Rates, CPU (of one core), queue, connections and memory are those of the worst moment;
/// the delays are those of `Counters::delays`.
pub(crate) fn head(vms: usize, tls: bool) -> String {
    let over = if tls { "https" } else { "http" };
    let columns = [
        &format!("{} VMs, {over}", grouped(vms as u64)),
        "sent/s",
        "answered/s",
        "CPU",
        "queue",
        "connections",
        "memory",
        "503",
        "broken",
        "timed out",
        "SYNs dropped",
        "p50",
        "p99",
        "last",
        "gave up",
    ];
    format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()))
}

/// The row of a run.
pub(crate) fn row(scenario: &Scenario, mut ended: RunResult, inputs: &Inputs) -> String {
    let waiter = if scenario.setup.tls { &inputs.waiter_tls } else { &inputs.waiter };
    let [p50, p99, last] = ended.tally.delays([0.5, 0.99, 1.0]);
    let (tally, cpu) = (&ended.tally, &ended.service.cpu);
    let cells = [
        scenario.name.to_owned(),
        grouped(tally.peak_offered().into()),
        grouped(tally.peak_served().into()),
        format!("{:.0} %", cpu.peak() * 100.0),
        span(cpu.longest_queue()),
        grouped(tally.connections as u64),
        memory(tally.connections as f64 * waiter.value / 1000.0 + EMPTY_MB),
        grouped(tally.busy),
        grouped(tally.broken),
        grouped(tally.late),
        grouped(tally.dropped),
        span(p50),
        span(p99),
        span(last),
        grouped(tally.slaves_gave_up + tally.masters_gave_up),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn memory(megabytes: f64) -> String {
    if megabytes < 1000.0 { format!("{megabytes:.0} MB") } else { format!("{:.1} GB", megabytes / 1000.0) }
}

/// A span in the unit that suits it.
fn span(span: Micros) -> String {
    let seconds = span as f64 / SECOND as f64;
    match seconds {
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        _ if seconds < 100.0 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

fn number(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// A number with a comma between thousands.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_as_people_do() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([5000, 1_500_000, 600_000_000].map(span), ["5 ms", "1.5 s", "600 s"]);
        assert_eq!([132.0, 13_200.0].map(memory), ["132 MB", "13.2 GB"]);
    }
}
