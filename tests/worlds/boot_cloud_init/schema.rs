//! What the service makes of the contexts that people write keeps to cloud-init's own schema as far as they did.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use worlds::boot::debian::{Debian, Release};
use worlds::http::Request;
use worlds::service::Service;

use super::cloud_init;

const DRIVER: &str = include_str!("schema.py");

/// Every cloud-config among the tests' cases and the shipped examples: its file's name, and its text.
fn cloud_configs() -> Vec<(String, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["tests/fixtures/cases", "cloud-init/examples"].map(|folder| top.join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("it can be listed"));
    let mut contexts: Vec<_> = files
        .filter_map(|file| {
            let path = file.expect("it can be listed").path();
            let text = fs::read_to_string(&path).ok()?;
            let name = path.file_name()?.to_string_lossy().into_owned();
            let is_cloud_config = text.lines().next().is_some_and(|line| line.trim_end() == "#cloud-config");
            is_cloud_config.then_some((name, text))
        })
        .collect();
    contexts.sort();
    contexts
}

/// What the service makes of a context for a role; `None` where it says why it cannot.
fn made(service: &Service, pin: &str, role: &str, context: &str) -> Option<String> {
    let wanted =
        json!({"pin": pin, "service_url": "https://pair.example.org", "sealed": true, role: context});
    let request = Request::new("POST", "/api/v1/contexts").json(&wanted);
    let answer = service.api().ask(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let made: Value = answer.json();
    let text = made[role]["context"].as_str().map(str::to_owned);
    let is_error = |finding: &Value| finding["severity"] == "error";
    let has_error = made[role]["findings"].as_array().expect("a list").iter().any(is_error);
    assert!(text.is_some() || has_error, "{made}");
    text
}

#[test]
#[ignore = "needs root: makes Debian roots"]
fn contexts_of_the_service_keep_to_the_schema_of_cloud_init() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let mut pairs = Vec::new();
    for (name, context) in cloud_configs() {
        for role in ["master", "slave"] {
            if let Some(made) = made(&service, &pin, role, &context) {
                pairs.push((format!("{name} as {role}"), context.clone(), made));
            }
        }
    }
    assert!(pairs.len() > 30, "{}", pairs.len());
    for release in [Release::Bookworm, Release::Trixie, Release::Sid] {
        let texts = pairs.iter().flat_map(|(_, before, after)| [before.as_bytes(), after.as_bytes()]);
        let said = cloud_init(&Debian::root_of(release).root(), DRIVER, texts);
        let (said, rest) = said.as_chunks::<2>();
        assert!(said.len() == pairs.len() && rest.is_empty(), "{release:?}");
        for ((name, _, made), [before, after]) in pairs.iter().zip(said) {
            assert_eq!(before, after, "{release:?}: {name}\n{made}");
        }
        let clean = said.iter().filter(|[before, _]| before == "").count();
        println!("{release:?}: {} contexts, {clean} without a word of the schema", said.len());
        assert!(clean > 20, "{release:?}: {clean}");
    }
}
