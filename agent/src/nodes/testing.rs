//! Lists of nodes for tests, as the service answers them.

use serde_json::{Value, json};

pub(super) fn list(whole: bool, nodes: &[Value]) -> String {
    json!({"version": "a-1", "whole": whole, "total": nodes.len(), "nodes": nodes}).to_string()
}

pub(super) fn node(id: &str, role: &str, state: &str, addresses: &[&str]) -> Value {
    let report = json!({"name": id, "role": role, "state": state, "addresses": addresses});
    json!({"id": id, "reported": "2026-11-26T16:00:00.000000Z", "age": 5, "report": report})
}
