use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::FaultKind;
use super::*;
use crate::catalogue::tests::recorded;
use crate::yaml::{self, Dates};

/// How many recorded requests made a stack, quirks aside. A lost record must not pass unseen.
const STACKS: usize = 33;

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// A value with the names of files in place of their addresses, and scalars as their texts: numbers and booleans are the
/// same to Heat in both forms.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::String(text) if text.starts_with("file://") => Value::from(file_name(text)),
        Value::String(text) => Value::from(text.as_str()),
        scalar => Value::from(scalar.to_string()),
    }
}

/// The file's name with its folder's: several have the same name.
fn file_name(address: &str) -> String {
    let mut parts: Vec<_> = address.rsplit('/').take(2).collect();
    parts.reverse();
    parts.join("/")
}

/// The recorded requests that made a stack: the set of types, the request's cluster, and what Heat was asked for.
fn recorded_stacks() -> Vec<(String, String, Value, Value)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/builder/records");
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut stacks = Vec::new();
    for file in files {
        let scenario: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let mut set = String::new();
        for step in scenario["exchanges"].as_array().unwrap() {
            if step["control"][0] == "types" {
                step["control"][1].as_str().unwrap().clone_into(&mut set);
            }
            let calls = step["calls"].as_array().into_iter().flatten();
            let Some(call) = calls.into_iter().find(|call| call["stack"] == true) else { continue };
            let body: Value =
                serde_json::from_str(step["request"]["body"]["text"].as_str().unwrap()).unwrap();
            let name = format!("{} {}", file.file_stem().unwrap().display(), step["id"]);
            stacks.push((name, set.clone(), body["cluster"].clone(), call["json"].clone()));
        }
    }
    stacks
}

#[test]
fn asks_heat_for_the_recorded_stacks() {
    let stacks = recorded_stacks();
    for (name, set, cluster, wanted) in &stacks {
        let (_dir, catalogue) = recorded(set);
        let found = catalogue.find(cluster["cluster_type_id"].as_str().unwrap()).unwrap();
        let (answers, selections) = (map(&cluster["parameters"]), map(&cluster["selections"]));
        assert_eq!(found.check(&answers, &selections), [], "{name}");
        let stack = found.stack(&answers, &selections, &Map::new()).unwrap();
        let template = yaml::parse(wanted["template"].as_str().unwrap(), Dates::AreTexts).unwrap().unwrap();
        assert_eq!(plain(&stack.template), plain(&template.to_json()), "{name}");
        assert_eq!(Value::from(stack.parameters), wanted["parameters"], "{name}");
        let ours: BTreeSet<_> = stack.files.keys().map(|address| file_name(address)).collect();
        let theirs: BTreeSet<_> = map(&wanted["files"]).keys().map(|address| file_name(address)).collect();
        assert_eq!(ours, theirs, "{name}");
        for (address, contents) in map(&wanted["files"]) {
            let mine = stack.files.iter().find(|(mine, _)| file_name(mine) == file_name(&address)).unwrap().1;
            let json =
                |text: &str| serde_json::from_str(text).map_or(Value::from(text), |value| plain(&value));
            assert_eq!(json(mine), json(contents.as_str().unwrap()), "{name} {address}");
        }
    }
    assert_eq!(stacks.len(), STACKS);
}

#[test]
fn components_that_do_not_go_together_make_no_stack() {
    let (_dir, catalogue) = recorded("merge");
    let stack = |id: &str, selections: Value| {
        let found = catalogue.find(id).unwrap();
        found
            .stack(&Map::new(), &map(&selections), &Map::new())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for (id, selections, wanted) in [
        ("same-resource", json!({}), "the components a and b both have the resource n"),
        ("same-output", json!({}), "the components a and b both have the output o"),
        ("same-condition", json!({}), "the components a and b both have the condition k"),
        ("optional-clash", json!({"b": true}), "the components a and b both have the resource n"),
        ("all-optional", json!({}), "no component is selected"),
        (
            "other-version",
            json!({}),
            "the components a and b have different versions of Heat's templates (2021-04-16, 2018-08-31); give both the \
             same heat_template_version",
        ),
    ] {
        assert_eq!(stack(id, selections), Err(wanted.to_owned()), "{id}");
    }
    assert_eq!(stack("optional-clash", json!({"b": false})), Ok(()));
    let (_dir, catalogue) = recorded("main");
    let error = catalogue.find("kube").unwrap().stack(&Map::new(), &Map::new(), &Map::new()).unwrap_err();
    assert_eq!(error, StackError::Kind("magnum"));
}

#[test]
fn asks_for_no_parameter_of_a_component_that_is_not_selected() {
    let (_dir, catalogue) = recorded("merge");
    let found = catalogue.find("optional").unwrap();
    assert_eq!(found.check(&Map::new(), &Map::new()), []);
    let faults = found.check(&Map::new(), &map(&json!({"b": true})));
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].kind, faults[0].name.as_str()), (FaultKind::Missing, "only-b"));
    let faults = found.check(&Map::new(), &map(&json!({"b": 1, "a": 5, "nobody": "x"})));
    assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, "/cluster/selections/b"));
}

#[test]
fn tells_all_faults_of_a_request_in_the_definition_s_order() {
    let (_dir, catalogue) = recorded("main");
    let answers = json!({
        "clustername": "Al", "cidr": "10.0.0.0", "worker-count": "9", "tags": ["blue", "pink"], "image": "tiny",
        "pairing-pin": null, "master-flavour": "m9", "unknown": {"x": 1}, "mtu": "not looked at: hard-coded",
    });
    let found = catalogue.find("pair").unwrap();
    let faults = found.check(&map(&answers), &Map::new());
    let told: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.message.as_str())).collect();
    assert_eq!(
        told,
        [
            ("/cluster/parameters/clustername", "3 to 20 characters"),
            (
                "/cluster/parameters/cidr",
                "Error validating value '10.0.0.0': '10.0.0.0' isn't a recognized IP subnet cidr, '10.0.0.0/32' is \
                 recommended"
            ),
            ("/cluster/parameters/pairing-pin", "The Parameter (pairing-pin) was not provided."),
            ("/cluster/parameters/worker-count", "one to eight"),
            (
                "/cluster/parameters/tags",
                "[\"blue\", \"pink\"] is not an allowed value [\"blue\", \"green\", \"red\"]"
            ),
        ]
    );
    let lookups = found.lookups(&map(&answers), &Map::new());
    let asked: Vec<_> = lookups.iter().map(|lookup| (lookup.kind.as_str(), lookup.value.as_str())).collect();
    assert_eq!(asked, [("glance.image", "tiny"), ("nova.flavor", "m9"), ("nova.flavor", "m1.tiny")]);
    assert_eq!(lookups[1].pointer, "/cluster/parameters/master-flavour");
}

#[test]
fn lists_a_type_whose_constraints_are_wrong_and_says_so_of_a_request() {
    let (_dir, catalogue) = recorded("odd");
    let found = catalogue.find("d-constraints-unchecked").unwrap();
    let faults = found.check(&Map::new(), &Map::new());
    let told: Vec<_> =
        faults.iter().map(|fault| (fault.kind, fault.name.as_str(), fault.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (FaultKind::Definition, "a", "Invalid key 'nonsense' for parameter constraints"),
            (FaultKind::Definition, "b", "could not convert string to float: 'words'"),
            (
                FaultKind::Definition,
                "c",
                "Unrecognized value 'maybe', acceptable values are: '0', '1', 'f', 'false', 'n', 'no', 'off', 'on', \
                 't', 'true', 'y', 'yes'"
            ),
        ]
    );
}
