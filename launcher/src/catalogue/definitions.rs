use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{Catalogue, FindError};
use crate::constraint::Lookup;
use crate::parameter::PairingTags;
use crate::stack::StackError;

const DEFINITION: &str =
    "title: t\ndescription: d\nkind: heat\norder: 1\nlogo_url: ''\ncomponents: [{name: c}]\n";

const COMPONENT: &str = "\
heat_template_version: 2021-04-16
parameters:
  name: {type: string}
  pin: {type: string, tags: [pairing.pin], hidden: true, constraints: [{length: {min: 12, max: 12}}]}
  url: {type: string, tags: [pairing.url], default: https://pairing.example.org}
  secret: {type: string, tags: [other, pairing.secret], default: ''}
resources:
  net: {type: 'OS::Neutron::Net'}
  router: {type: 'OS::Neutron::Router'}
";

/// A catalogue with the type `x`, of these files.
fn catalogue(files: &[(&str, &str)]) -> (TempDir, Catalogue) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(&dir.path().join("cluster-types-enabled/x").join(name), text);
    }
    let catalogue = Catalogue::new(dir.path().to_owned());
    (dir, catalogue)
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn problems(catalogue: &Catalogue) -> Vec<String> {
    match catalogue.find("x").unwrap_err() {
        FindError::Broken { broken, .. } => broken.into_iter().map(|broken| broken.problem).collect(),
        unknown => panic!("{unknown}"),
    }
}

fn with_outputs(outputs: &str) -> String {
    format!("{COMPONENT}outputs:\n  o: {{value: {outputs}}}\n")
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

#[test]
fn what_pairing_fills_in_is_neither_shown_nor_missing() {
    let (_dir, catalogue) = catalogue(&[("cluster-type.yaml", DEFINITION), ("components/c.yaml", COMPONENT)]);
    let found = catalogue.find("x").unwrap();
    assert_eq!(found.public()["parameters"], json!({"name": {"type": "string"}}));
    let pairing = found.pairing();
    assert_eq!(
        (pairing.pin, pairing.url, pairing.secret),
        (vec!["pin".into()], vec!["url".into()], vec!["secret".into()])
    );
    let missing = found.check(&Map::new(), &Map::new());
    assert_eq!(missing.iter().map(|fault| fault.name.as_str()).collect::<Vec<_>>(), ["name"]);

    let answers = map(&json!({"name": "n", "pin": "an answer does not count"}));
    let stack = |filled: Value| {
        found.stack(&answers, &Map::new(), &map(&filled)).map(|stack| Value::from(stack.parameters))
    };
    assert_eq!(
        stack(json!({"pin": "abcdefghijkl", "secret": "s", "name": "not tagged"})).unwrap(),
        json!({"name": "n", "pin": "abcdefghijkl", "secret": "s"}),
        "the URL is left to the template's default"
    );
    let answers = map(&json!({"name": 5}));
    let stack_of_number = found.stack(&answers, &Map::new(), &map(&json!({"pin": "abcdefghijkl"}))).unwrap();
    assert_eq!(
        stack_of_number.parameters["name"],
        json!("5"),
        "Heat fails at a number for a string with constraints"
    );
    assert_eq!(stack(json!({})).unwrap_err(), StackError::NotFilled("pin".to_owned()));
    assert!(
        matches!(stack(json!({"pin": "short"})).unwrap_err(), StackError::Unfit { name, .. } if name == "pin")
    );
}

#[test]
fn files_are_named_by_their_path_below_the_type() {
    let component = with_outputs("[{get_file: ../user data/a.txt}, {get_file: ../bytes}]");
    let (dir, catalogue) = catalogue(&[
        ("cluster-type.yaml", DEFINITION),
        ("components/c.yaml", &component),
        ("user data/a.txt", "text"),
    ]);
    fs::write(dir.path().join("cluster-types-enabled/x/bytes"), [0xff, 0xfe]).unwrap();
    let stack = catalogue
        .find("x")
        .unwrap()
        .stack(&Map::new(), &Map::new(), &map(&json!({"pin": "abcdefghijkl"})))
        .unwrap();
    let files: Vec<_> = stack.files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(
        files,
        [("file:///cluster-types/x/bytes", "//4="), ("file:///cluster-types/x/user%20data/a.txt", "text")]
    );
    assert_eq!(
        stack.template["outputs"]["o"]["value"][0]["get_file"],
        "file:///cluster-types/x/user%20data/a.txt"
    );
}

#[test]
fn no_file_outside_of_the_type_s_folder_is_read() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    let absolute = outside.path().display().to_string();
    for (name, words) in [
        (absolute.as_str(), "lies outside of the type's folder"),
        (&format!("file://{absolute}"), "lies outside of the type's folder"),
        ("../../y/secret", "lies outside of the type's folder"),
        ("link", "lies outside of the type's folder"),
        ("https://example.org/x", "https:// is not fetched"),
        ("http://127.0.0.1:1/x", "http:// is not fetched"),
        ("..", "is no regular file"),
        ("nowhere", "no such file"),
    ] {
        for value in [format!("{{get_file: '{name}'}}"), format!("{{type: '{name}'}}")] {
            let component = with_outputs(&value);
            let (dir, catalogue) =
                catalogue(&[("cluster-type.yaml", DEFINITION), ("components/c.yaml", &component)]);
            write(&dir.path().join("cluster-types-enabled/y/secret"), "s");
            symlink(outside.path(), dir.path().join("cluster-types-enabled/x/components/link")).unwrap();
            if value.contains("get_file") {
                let problems = problems(&catalogue);
                assert!(problems.len() == 1 && problems[0].contains(words), "{name}: {problems:?}");
            } else {
                assert!(catalogue.find("x").is_ok(), "a type that does not end in .yaml is no file: {name}");
            }
        }
    }
}

#[test]
fn a_component_named_by_an_absolute_path_brings_its_folder() {
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("shared.yaml");
    fs::write(&file, with_outputs("{get_file: text}")).unwrap();
    fs::write(other.path().join("text"), "shared").unwrap();
    let definition = DEFINITION.replace("{name: c}", &format!("{{name: {}}}", file.display()));
    let (_dir, catalogue) = catalogue(&[("cluster-type.yaml", &definition)]);
    let stack = catalogue
        .find("x")
        .unwrap()
        .stack(&Map::new(), &Map::new(), &map(&json!({"pin": "abcdefghijkl"})))
        .unwrap();
    assert_eq!(stack.files.values().collect::<Vec<_>>(), ["shared"]);
}

#[test]
fn a_component_s_name_does_not_lead_out_of_the_type() {
    let definition = DEFINITION.replace("{name: c}", "{name: ../../y/c}");
    let (dir, catalogue) = catalogue(&[("cluster-type.yaml", &definition)]);
    write(&dir.path().join("cluster-types-enabled/y/c.yaml"), COMPONENT);
    write(&dir.path().join("cluster-types-enabled/x/components/keep"), "");
    let problems = problems(&catalogue);
    assert!(problems[0].contains("lies outside of the type's folder"), "{problems:?}");
}

#[test]
fn faults_of_nested_templates_are_named() {
    let component = with_outputs("{type: nested.yaml}");
    let base = [("cluster-type.yaml", DEFINITION), ("components/c.yaml", component.as_str())];
    for (nested, wanted) in [
        (
            "heat_template_version: 2021-04-16\nresources: {r: {properties: {}}}\n",
            "the resource r has no type",
        ),
        ("resources: {}\n", "heat_template_version is missing"),
        ("heat_template_version: x\noutputs: {o: {type: nested.yaml}}\n", "type: this template nests itself"),
        ("heat_template_version: x\noutputs: {o: {get_file: gone}}\n", "get_file: no such file: "),
        ("- list\n", "a template is a list; it must be a mapping"),
    ] {
        let (_dir, catalogue) = catalogue(&[&base[..], &[("components/nested.yaml", nested)]].concat());
        let broken = match catalogue.find("x").unwrap_err() {
            FindError::Broken { broken, .. } => broken,
            unknown => panic!("{unknown}"),
        };
        assert!(broken[0].file.ends_with("components/nested.yaml"), "{broken:?}");
        assert!(broken[0].problem.starts_with(wanted), "{broken:?}");
    }
}

#[test]
fn warns_of_what_fails_at_launch_or_has_no_effect() {
    let definition = format!("{DEFINITION}hardcoded_parameters: {{gone: 1, size: many}}\n");
    let component = "\
heat_template_version: 2021-04-16
parameters:
  size: {type: number}
  pin: {type: string, tags: [pairing.pni]}
  net: {type: string, constraints: [{range: {min: 1}}]}
resources:
  net: {type: 'OS::Neutron::Net'}
  router: {type: 'OS::Neutron::Router', properties: {a: {get_param: nobody}, b: {get_resource: [nothing]}}}
";
    let (_dir, catalogue) =
        catalogue(&[("cluster-type.yaml", &definition), ("components/c.yaml", component)]);
    let warnings = catalogue.find("x").unwrap().warnings;
    let told: Vec<_> = warnings.iter().map(|warning| (warning.line, warning.problem.as_str())).collect();
    assert_eq!(
        told,
        [
            (Some(6), "a launch fails: net is both a parameter and a resource"),
            (Some(6), "a launch fails: get_param names nobody, which no component has"),
            (Some(6), "a launch fails: get_resource names nothing, which no component has"),
            (Some(7), "the hard-coded gone has no effect: no component has this parameter"),
            (Some(7), "Heat refuses the hard-coded value of size: could not convert string to float: 'many'"),
            (
                Some(4),
                "the tag pairing.pni of pin has no effect; there are pairing.pin, pairing.url, pairing.secret, pairing.trust"
            ),
            (Some(5), "Heat refuses the parameter net: Range constraint invalid for string"),
        ]
    );
}

#[test]
fn an_unquoted_date_is_no_text_in_a_definition_and_one_in_a_component() {
    let definition = DEFINITION.replace("title: t", "title: 2024-01-02");
    let component = COMPONENT
        .replace("name: {type: string}", "name: {type: string, default: 2024-01-02, label: 2024-01-02}");
    let files = [("cluster-type.yaml", definition.as_str()), ("components/c.yaml", component.as_str())];
    let (_dir, catalogue) = catalogue(&files);
    assert_eq!(problems(&catalogue), ["title is a date; it must be a text; put it in quotes"]);
}

#[test]
fn a_key_that_is_no_text_is_named() {
    let definition = DEFINITION
        .replace("kind: heat", "kind: magnum\nmagnum_cluster_template: m\nparameters: {1: {type: string}}");
    let (_dir, catalogue) = catalogue(&[("cluster-type.yaml", &definition)]);
    assert_eq!(problems(&catalogue), ["the key 1 is no text; put it in quotes"]);
}

#[test]
fn the_document_has_every_key() {
    let document = include_str!("../../../docs/cluster-types.md");
    let offline = ["ip_addr", "net_cidr", "ip_or_cidr", "mac_addr", "dns_name", "rel_dns_name", "dns_domain"];
    let keys = super::read::HEAT_KEYS
        .iter()
        .chain(&crate::component::KEYS)
        .chain(&crate::parameter::KEYS)
        .chain(&PairingTags::TAGS)
        .chain(&Lookup::KINDS)
        .chain(&offline);
    for key in keys {
        assert!(document.contains(&format!("`{key}`")), "docs/cluster-types.md does not name {key}");
    }
    for kind in crate::constraint::KINDS {
        assert!(document.contains(&format!("`{kind}: ")), "docs/cluster-types.md does not name {kind}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever an editor leaves behind, the list is there, and the definition is in it or named.
    #[test]
    fn a_damaged_definition_is_listed_or_named(
        which in 0..2_usize, at in 0..400_usize, length in 0..30_usize, put in "[-a:#'\"|>{}, \\[\\]\n!&*%<0]{0,6}",
    ) {
        let mut files = [("cluster-type.yaml", DEFINITION.to_owned()), ("components/c.yaml", COMPONENT.to_owned())];
        let text = &mut files[which].1;
        let at = at.min(text.len());
        let end = (at + length).min(text.len());
        text.replace_range(at..end, &put);
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        let (_dir, catalogue) = catalogue(&files);
        let listing = catalogue.read().unwrap();
        prop_assert!(listing.types.len() + listing.broken.len().min(1) == 1);
        for found in listing.types {
            let _ = (found.public(), found.check(&Map::new(), &Map::new()));
            if let Ok(stack) = found.stack(&Map::new(), &Map::new(), &map(&json!({"pin": "abcdefghijkl"}))) {
                let _ = (stack.needs(crate::quota::Counted::All), stack.check_contexts());
            }
        }
    }
}
