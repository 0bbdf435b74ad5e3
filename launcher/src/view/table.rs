//! A cluster as the commands print it, and as programs read it.

use std::fmt::Write as _;
use std::iter;

use serde_json::{Value, json};

use super::View;
use crate::launch::Record;

/// A cluster in JSON: for `--json`, and for the API. No pin and no secret is in it.
#[must_use]
pub fn row(record: &Record, view: &View) -> Value {
    let mut value = json!({
        "id": record.stack_id,
        "name": record.stack_name,
        "cluster": record.name,
        "cluster_type_id": record.cluster_type,
        "created": record.created,
        "pairs": record.paired.is_some(),
        "log": record.log,
    });
    if let (Value::Object(into), Ok(Value::Object(seen))) = (&mut value, serde_json::to_value(view)) {
        into.extend(seen);
    }
    value
}

/// Clusters in a list: a line each.
#[must_use]
pub fn rows(clusters: &[(Record, View)]) -> String {
    let table = columns(clusters.iter().map(|(record, view)| {
        [
            ("NAME", record.name.clone()),
            ("TYPE", record.cluster_type.clone()),
            ("STATE", view.state.as_str().to_owned()),
            ("DETAIL", view.detail.clone()),
        ]
    }));
    table.unwrap_or_else(|| "no clusters".to_owned())
}

/// One cluster: its state, its servers and its nodes.
#[must_use]
pub fn table(record: &Record, view: &View) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:8}{value}");
        }
    };
    line("cluster", &record.name);
    line("type", &record.cluster_type);
    line("state", &format!("{}: {}", view.state.as_str(), view.detail));
    line("stack", &record.stack_name);
    line("id", record.stack_id.as_deref().unwrap_or_default());
    line("trouble", view.trouble.as_deref().unwrap_or_default());
    let servers = columns(view.servers.iter().map(|server| {
        [
            ("SERVER", server.name.clone()),
            ("STATUS", server.status.clone()),
            ("ADDRESSES", server.addresses.join(",")),
            ("FAULT", server.fault.clone().unwrap_or_default()),
        ]
    }));
    let nodes = columns(view.nodes.iter().map(|node| {
        [
            ("NODE", if node.name.is_empty() { node.id.clone() } else { node.name.clone() }),
            ("ROLE", node.role.clone()),
            ("STATE", node.state.clone()),
            ("ADDRESSES", node.addresses.join(",")),
            ("DETAIL", node.detail.clone()),
        ]
    }));
    for table in [servers, nodes].into_iter().flatten() {
        let _ = writeln!(text, "\n{table}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// A line of heads and a line for each row, whose cells stand with their heads. Nothing without rows.
fn columns<const N: usize>(rows: impl Iterator<Item = [(&'static str, String); N]>) -> Option<String> {
    let rows: Vec<_> = rows.collect();
    let heads = rows.first()?.each_ref().map(|(head, _)| (*head).to_owned());
    let lines: Vec<_> =
        iter::once(heads).chain(rows.into_iter().map(|row| row.map(|(_, cell)| cell))).collect();
    let widths: Vec<usize> = (0..N)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default())
        .collect();
    let lines = lines.iter().map(|line| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    Some(lines.collect::<Vec<_>>().join("\n"))
}
