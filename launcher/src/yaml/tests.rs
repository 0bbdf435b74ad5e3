use proptest::prelude::*;
use serde_json::json;

use super::{parse as parse_with, *};

fn parse(text: &str) -> Result<Option<Rc<Node>>, Invalid> {
    parse_with(text, Dates::AreDates)
}

fn value(text: &str) -> Value {
    parse(text).unwrap().map_or(Value::Null, |node| node.to_json())
}

#[test]
fn reads_scalars_as_yaml_1_1_has_them() {
    for (text, wanted) in [
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("y", json!("y")),
        ("yEs", json!("yEs")),
        ("~", json!(null)),
        ("012", json!(10)),
        ("0o17", json!("0o17")),
        ("08", json!("08")),
        ("0x1F", json!(31)),
        ("0b101", json!(5)),
        ("1_000", json!(1000)),
        ("1:30", json!(90)),
        ("-1:30", json!(-90)),
        ("1:30.5", json!(90.5)),
        ("1e3", json!("1e3")),
        ("1.0e+3", json!(1000.0)),
        (".5", json!(0.5)),
        ("-1", json!(-1)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("\"yes\"", json!("yes")),
        ("!!str 5", json!("5")),
        ("! 5", json!(5)),
        ("! '5'", json!("5")),
        ("!!float 5", json!(5.0)),
        ("!!int \"5\"", json!(5)),
        ("2024-01-02", json!("2024-01-02")),
        ("10.77.0.0/24", json!("10.77.0.0/24")),
        ("fa:16:3e:00:00:01", json!("fa:16:3e:00:00:01")),
    ] {
        assert_eq!(value(text), wanted, "{text}");
    }
    assert!(matches!(parse("2024-01-02").unwrap().unwrap().content, Content::Date(_)));
    let node = parse_with("2024-01-02", Dates::AreTexts).unwrap().unwrap();
    assert_eq!(node.text(), Some("2024-01-02"));
}

#[test]
fn merges_mappings_and_takes_the_last_of_equal_keys() {
    assert_eq!(value("a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}")["b"], json!({"x": 1, "y": 3}));
    assert_eq!(value("- &a {x: 1}\n- &b {x: 2, z: 1}\n- {<<: [*a, *b]}")[2], json!({"x": 1, "z": 1}));
    assert_eq!(value("t: first\nu: 1\nt: second"), json!({"t": "second", "u": 1}));
    let order: Vec<_> = value("z: 1\na: 2\nz: 3").as_object().unwrap().keys().cloned().collect();
    assert_eq!(order, ["z", "a"]);
    assert!(
        parse("{<<: 5}").is_err()
            && parse("a: <<").is_err()
            && parse("<<").is_err()
            && parse("[<<]").is_err()
    );
    assert_eq!(value("{'<<': 5}"), json!({"<<": 5}));
}

#[test]
fn names_the_line_of_what_it_refuses() {
    for (text, line, words) in [
        ("a: 1\ntitle: \"never closed\n", 2, "quoted"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: 1\nb: !!python/object/apply:os.getcwd []\n", 2, "python/object"),
        ("a:\n  b: .inf\n", 2, ".inf"),
        ("a: 1\n? [x]\n: 2\n", 2, "a key is a list"),
        ("a: &a [*a]\n", 1, "own anchor"),
    ] {
        let invalid = parse(text).unwrap_err();
        assert_eq!(invalid.line, line, "{text:?}: {invalid}");
        assert!(invalid.problem.contains(words), "{text:?}: {invalid}");
    }
    for text in ["title:\n\t- x\n", "a: [", "a: b: c"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
    assert!(parse("# nothing\n").unwrap().is_none());
}

#[test]
fn tells_where_nodes_stand_and_which_keys_are_no_texts() {
    let root = parse("a: 1\nb:\n  c: [x,\n    y]\n  5: z\n").unwrap().unwrap();
    assert_eq!(root.get("b").unwrap().get("c").unwrap().items()[1].line, 4);
    let odd = root.keys_that_are_no_texts();
    assert_eq!((odd.len(), odd[0].key.as_str(), odd[0].key_line), (1, "5", 5));
}

#[test]
fn reads_json_with_tabs_in_it() {
    assert_eq!(value("{\n\t\"a\": [1,\n\t\t2]\n}"), json!({"a": [1, 2]}));
}

#[test]
fn refuses_what_would_be_too_large_or_too_deep() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert!(parse(&bomb).unwrap_err().problem.contains("nodes"));
    assert!(parse(&"[".repeat(100_000)).is_err());
}

proptest! {
    #[test]
    fn takes_any_text(text in "[-a:#'\"|>{}, \\[\\]\n!\\\\2&*é?%<=]{0,80}") {
        if let Ok(Some(node)) = parse(&text) {
            let _ = (node.to_json(), node.keys_that_are_no_texts().len());
        }
    }
}
