use super::*;
use crate::document::Document;
use crate::value::{self, Origin};
use proptest::prelude::*;
use protocol::error::Status;
use std::collections::BTreeMap;

const PLACE: &str = "###VALUE_PLACEHOLDER###";
/// Each of them means something to YAML 1.1 where it stands alone.
const ODD: &str = "a: b|@x|%x|=|no|0x1F|-x|- x|-|y|~|1e3|1:30|2001-12-14|a:|.5|null|True|:x|x,y|---|6443";

fn substituted(text: &str, value: &str) -> Result<String, protocol::error::Error> {
    let values = BTreeMap::from([("value".to_owned(), value.to_owned())]);
    let document = Document::parse("f", text.as_bytes().to_vec()).unwrap();
    document.substitute(&values).map(|done| String::from_utf8(done.bytes).unwrap())
}

fn scalars(node: &Node, found: &mut Vec<(String, bool)>) {
    match node {
        Node::Scalar(scalar) => {
            found.push((scalar.text.clone(), !scalar.is_plain() || is_surely_text(&scalar.text, false)));
        }
        Node::Sequence(items) => items.iter().for_each(|item| scalars(item, found)),
        Node::Mapping(pairs) => {
            for (key, value) in pairs.iter() {
                found.push((key.text.clone(), true));
                scalars(value, found);
            }
        }
    }
}

/// Texts in which the placeholder stands where no shell reads it.
const TEXTS: [&str; 9] = [
    "#cloud-config\nfqdn: @\nb: c\n",
    "#cloud-config\nfqdn: pre@\nb: [first, @, last]\n",
    "#cloud-config\na: {b: @, c: d}\n",
    "#cloud-config\na: \"@\"\nb: '@'\nc: |\n  @\nd: >-\n  x\n  @\n",
    "#cloud-config\n- @\n-   @\n  and @\n",
    "#cloud-config\n@: first\n? @\n: last\n",
    "#cloud-config\na: &x @\nb: *x\n",
    "#cloud-config\n# @\na: x # @\n",
    "#cloud-config\nruncmd:\n- [echo, @]\n- [sh, -c, 'echo \"$1\"', x, '@']\n",
];

#[track_caller]
fn keeps_tree(text: &str, value: &str) {
    let Ok(shown) = substituted(&text.replace('@', PLACE), value) else {
        // Refused, as what cannot be told from a syntax is; but not what stands alone.
        assert!(text.contains("pre@") || text.contains("sh, -c"), "{text} {value:?}");
        return;
    };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    // No value holds this text, and it stands where a value is to be text.
    scalars(&yaml::parse(&text.replace('@', "(VALUE)")).unwrap().unwrap(), &mut before);
    scalars(&yaml::parse(&shown).unwrap().unwrap(), &mut after);
    let expected: Vec<_> = before.iter().map(|(text, _)| text.replace("(VALUE)", value)).collect();
    let found: Vec<_> = after.iter().map(|(text, _)| text).collect();
    assert_eq!(expected.iter().collect::<Vec<_>>(), found, "{shown}");
    let mut places = before.iter().zip(&after).filter(|((text, _), _)| text.contains("(VALUE)"));
    assert!(places.all(|(_, (_, is_text))| *is_text), "{shown}");
}

#[test]
fn keeps_the_tree_and_the_text_of_odd_values() {
    for text in TEXTS {
        for value in ODD.split('|') {
            keeps_tree(text, value);
        }
    }
}

#[test]
fn leaves_every_byte_where_the_value_needs_no_quotes() {
    for text in ["#cloud-config\nfqdn:   @ # the master\n", "#cloud-config\na: [ x, '@' ]\n"] {
        for value in ["10.0.0.1", "node-1.example.org", "/srv/nfs", "K10a::server:b4f"] {
            let shown = substituted(&text.replace('@', PLACE), value).unwrap();
            assert_eq!(shown, text.replace('@', value));
        }
    }
    let shown = substituted(&format!("#cloud-config\na:  {PLACE}  # x\n"), "no").unwrap();
    assert_eq!(shown, "#cloud-config\na:  \"no\"  # x\n");
}

#[test]
fn refuses_what_a_shell_would_take_apart_and_names_the_line() {
    let refused = [
        ("#!/bin/sh\nTOKEN=@ true\n", 2),
        ("#!/bin/sh\ncurl -H x=@\n", 2),
        ("export TOKEN=@\n", 1),
        ("#cloud-config\na: b\nruncmd:\n- curl -H header=@ http://x/\n", 4),
        ("#cloud-config\nbootcmd:\n- [sh, -c, 'A=@ b']\n", 3),
        ("#cloud-config\nwrite_files:\n- path: /x\n  content: |\n    #!/bin/sh\n    A=@\n", 6),
        ("#cloud-config\nwrite_files:\n- path: /x\n  content: |\n    y\n    A=@\n", 6),
        ("#cloud-config\nwrite_files:\n- path: /x.yaml\n  content: |\n    y: @\n", 5),
        (
            "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\nContent-Type: text/x-shellscript\n\nA=@\n--b--\n",
            7,
        ),
    ];
    for (text, line) in refused {
        let text = text.replace('@', PLACE);
        for value in ["x touch /tmp/p: ", "Basic dXNlcjo6cGFzcw==: x"] {
            let error = substituted(&text, value.trim()).unwrap_err();
            assert_eq!(error.status(), Status::Nonsense, "{text}");
            assert!(error.place().unwrap().ends_with(&format!("line {line}")), "{text}: {error}");
            assert!(!error.to_string().contains(value.trim()), "{error}");
        }
        assert!(substituted(&text, "K10a").is_ok(), "{text}");
    }
    let taken = [
        "#!/bin/sh\nTOKEN=\"@\" true\n",
        "TOKEN='@'\n",
        "Welcome to @\n",
        "#cloud-config\nruncmd:\n- curl -H \"header: @\" http://x/\n",
        "#cloud-config\nssh_authorized_keys:\n- @\n",
    ];
    for text in taken {
        assert!(substituted(&text.replace('@', PLACE), "a b").is_ok(), "{text}");
    }
}

#[test]
fn takes_a_text_that_is_no_yaml_for_a_script() {
    let text = format!("#cloud-config\na: [\nb={PLACE}\n");
    assert!(substituted(&text, "a b").is_err());
    assert_eq!(substituted(&text, "ab").unwrap(), "#cloud-config\na: [\nb=ab\n");
}

proptest! {
    #[test]
    fn keeps_the_tree_of_any_text_with_any_value(
        index in 0..TEXTS.len(), value in "[-._+/=:@,~%a-zA-Z0-9 ]{1,12}",
    ) {
        if value::check("value", &value, Origin::Received).is_ok() {
            keeps_tree(TEXTS[index], &value);
        }
    }
}
