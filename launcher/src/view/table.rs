//! A cluster as the commands print it, and as programs read it.

use std::fmt::Write as _;

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
    if clusters.is_empty() {
        return "no clusters".to_owned();
    }
    let lines = clusters.iter().map(|(record, view)| {
        vec![
            record.name.clone(),
            record.cluster_type.clone(),
            view.state.as_str().to_owned(),
            view.detail.clone(),
        ]
    });
    columns(&["NAME", "TYPE", "STATE", "DETAIL"], lines.collect())
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
    let servers = view.servers.iter().map(|server| {
        vec![
            server.name.clone(),
            server.status.clone(),
            server.addresses.join(","),
            server.fault.clone().unwrap_or_default(),
        ]
    });
    if !view.servers.is_empty() {
        let _ =
            writeln!(text, "\n{}", columns(&["SERVER", "STATUS", "ADDRESSES", "FAULT"], servers.collect()));
    }
    let nodes = view.nodes.iter().map(|node| {
        vec![
            if node.name.is_empty() { node.id.clone() } else { node.name.clone() },
            node.role.clone(),
            node.state.clone(),
            node.addresses.join(","),
            node.detail.clone(),
        ]
    });
    if !view.nodes.is_empty() {
        let heads = ["NODE", "ROLE", "STATE", "ADDRESSES", "DETAIL"];
        let _ = writeln!(text, "\n{}", columns(&heads, nodes.collect()));
    }
    text.truncate(text.trim_end().len());
    text
}

fn columns(heads: &[&str], mut lines: Vec<Vec<String>>) -> String {
    lines.insert(0, heads.iter().map(|head| (*head).to_owned()).collect());
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default())
        .collect();
    let lines = lines.iter().map(|line| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
