use serde_json::{Map, Value, json};

use super::*;
use crate::catalogue::tests::recorded;

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn needs(id: &str, answers: &Value) -> Needs {
    let (_dir, catalogue) = recorded("quota");
    let found = catalogue.find(id).unwrap();
    let stack = found.stack(answers.as_object().unwrap(), &Map::new(), &Map::new()).unwrap();
    // What is recorded of the original is the same by both.
    assert_eq!(stack.needs(Counted::AsOriginal), stack.needs(Counted::All), "{id}");
    stack.needs(Counted::All)
}

fn flavours(needs: &Needs) -> Vec<(&str, u64, Option<&str>)> {
    needs
        .flavours
        .iter()
        .map(|(name, used)| (name.as_str(), used.servers, used.parameter.as_deref()))
        .collect()
}

#[test]
fn counts_servers_volumes_and_groups() {
    let three = needs("three", &json!({}));
    assert_eq!((three.instances, three.uncounted.len()), (3, 0));
    assert_eq!(flavours(&three), [("m1.small", 2, Some("f")), ("m1.tiny", 1, None)]);
    let volumes = needs("volumes", &json!({"s": "6"}));
    assert_eq!((volumes.volumes, volumes.volume_gb), (2, 13));
    let group = needs("group", &json!({"count": "4", "flavour": "m1.tiny"}));
    assert_eq!((group.instances, group.volumes, group.volume_gb), (4, 4, 12));
    assert_eq!(flavours(&group), [("m1.tiny", 4, Some("flavour"))]);
}

#[test]
fn counts_where_the_original_fails() {
    let none = needs("group", &json!({"count": 0}));
    assert_eq!((none.instances, none.volumes), (0, 0), "none is none, not one");
    assert_eq!(flavours(&needs("group-renamed", &json!({}))), [("m1.small", 2, Some("flavour"))]);
    assert_eq!(flavours(&needs("flavour-by-function", &json!({}))), [("m1.tiny", 1, None)]);
    assert_eq!(needs("group-inline", &json!({})), Needs::default());
    assert_eq!(needs("group-no-count", &json!({})), Needs::default());
    for (id, wanted) in [("no-flavour", "the flavour of s"), ("no-properties", "the flavour of s")] {
        let needs = needs(id, &json!({}));
        assert_eq!((needs.instances, needs.uncounted.join(", ").as_str()), (1, wanted));
    }
    let words = needs("size-words", &json!({}));
    assert_eq!((words.volumes, words.uncounted.join(", ").as_str()), (1, "the size of v"));
}

fn of_template(template: Value, files: &[(&str, Value)], counted: Counted) -> Needs {
    let files = files.iter().map(|(name, template)| ((*name).to_owned(), template.to_string())).collect();
    Stack { template, files, parameters: map(&json!({"n": 2, "on": false, "names": ["m1", "big"]})) }
        .needs(counted)
}

#[test]
fn counts_what_else_makes_servers_and_volumes() {
    let server = |flavour: Value| json!({"type": "OS::Nova::Server", "properties": {"flavor": flavour}});
    let template = json!({
        "parameters": {"n": {"type": "number"}, "on": {"type": "boolean"}, "names": {"type": "comma_delimited_list"}},
        "conditions": {"on": {"get_param": "on"}, "off": {"not": "on"}, "two": {"equals": [{"get_param": "n"}, 2]}},
        "resources": {
            "scaled": {"type": "OS::Heat::AutoScalingGroup", "properties": {
                "min_size": 1, "max_size": 9, "desired_capacity": {"get_param": "n"}, "resource": server(json!("a"))}},
            "inline": {"type": "OS::Heat::ResourceGroup", "properties": {
                "count": {"if": ["two", 3, 4]}, "resource_def": server(json!({"get_param": ["names", 1]}))}},
            "nested": {"type": "file:///outer.yaml", "properties": {"f": {"str_replace": {
                "template": "x.$a", "params": {"$a": {"get_param": ["names", 0]}}}}}},
            "never": {"type": "OS::Nova::Server", "condition": "on", "properties": {"flavor": "a"}},
            "always": {"type": "OS::Nova::Server", "condition": {"and": ["off", "two"]}, "properties": {
                "flavor": "a",
                "block_device_mapping_v2": [{"image": "i", "volume_size": 10}, {"volume_id": "v"}]}},
            "later": {"type": "OS::Nova::Server", "properties": {"flavor": {"get_attr": ["x", "y"]}}},
            "unknown": {"type": "OS::Heat::ResourceGroup", "properties": {
                "count": {"get_attr": ["x", "y"]}, "resource_def": server(json!("a"))}},
        },
    });
    let outer = json!({"parameters": {"f": {"type": "string"}, "g": {"type": "string", "default": "d"}}, "resources": {
        "s": server(json!({"get_param": "f"})), "t": server(json!({"get_param": "g"})),
    }});
    let files = [("file:///outer.yaml", outer)];
    let original = of_template(template.clone(), &files, Counted::AsOriginal);
    assert_eq!(flavours(&original), [("a", 1, None), ("big", 3, None)], "no scaled, no nested ones");
    assert_eq!((original.instances, original.volumes), (5, 0), "no disks");
    let needs = of_template(template, &files, Counted::All);
    assert_eq!(flavours(&needs), [("a", 3, None), ("big", 3, None), ("d", 1, None), ("x.m1", 1, None)]);
    assert_eq!((needs.instances, needs.volumes, needs.volume_gb), (9, 1, 10));
    assert_eq!(needs.uncounted, ["the flavour of later", "the members of unknown"]);
}

#[test]
fn a_huge_count_is_counted_at_once_and_does_not_overflow() {
    let member = json!({"type": "OS::Heat::ResourceGroup", "properties": {"count": 1e18, "resource_def": {
        "type": "OS::Cinder::Volume", "properties": {"size": 1e18}}}});
    let template = json!({"resources": {"g": {"type": "OS::Heat::ResourceGroup", "properties": {
        "count": 1e18, "resource_def": member}}}});
    let needs = of_template(template, &[], Counted::All);
    assert_eq!((needs.volumes, needs.volume_gb), (u64::MAX, u64::MAX));
}

#[test]
fn complains_in_the_original_s_words() {
    let limit = |max, used| Some(Limit { max, used });
    let poor = Limits {
        ram_mb: limit(10_240, 9216),
        vcpus: limit(10, 9),
        instances: limit(10, 10),
        volume_gb: limit(-1, 5),
        volumes: None,
    };
    let total = Total { ram_mb: 65_536, vcpus: 16, instances: 1, volume_gb: 1000, volumes: 1000 };
    assert_eq!(
        total.exceeds(&poor).unwrap(),
        "would exceed project's ram limit: requires 65536MB, 1024MB available; would exceed project's vcpus limit: \
         requires 16, 1 available; project's maximum instances (10) reached/exceeded"
    );
    let fits = Total { ram_mb: 1024, vcpus: 1, ..Total::default() };
    assert_eq!(fits.exceeds(&poor), None);
    let used_up = Limits { volume_gb: limit(5, 7), ..Limits::default() };
    assert_eq!(total.exceeds(&used_up).unwrap(), "project's maximum volume_disk (5) reached/exceeded");
}

#[test]
fn names_flavours_whose_size_is_not_known() {
    let needs = needs("three", &json!({"f": "m9.huge"}));
    let sizes = |name: &str| (name != "m9.huge").then_some(FlavourSize { ram_mb: 512, vcpus: 1 });
    let (total, unknown) = needs.total(sizes);
    assert_eq!((total.ram_mb, total.vcpus, total.instances), (1024, 2, 3));
    assert_eq!(unknown["m9.huge"].parameter.as_deref(), Some("f"));
}
