use super::*;
use proptest::prelude::*;

fn bodies(text: &str) -> Vec<&str> {
    let leaves = leaves(text.as_bytes()).unwrap().expect("it is MIME");
    leaves.into_iter().map(|leaf| &text[leaf.body]).collect()
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(bodies(text), expected);
    let windows = text.replace('\n', "\r\n");
    let expected: Vec<_> = expected.iter().map(|body| body.replace('\n', "\r\n")).collect();
    assert_eq!(bodies(&windows), expected);
    assert_eq!(bodies(&format!("\u{feff}{text}")), bodies(text));
}

const TOP: &str = "Content-Type: multipart/mixed; boundary=\"==A==\"\nMIME-Version: 1.0\n\n";

#[test]
fn finds_the_leaves_between_boundaries() {
    check(
        &format!(
            "{TOP}preamble\n--==A==\nContent-Type: text/x-a\n\none\n\n--==A==\n\ntwo\n--==A==--\nepilogue\n"
        ),
        &["one\n", "two"],
    );
    check(&format!("{TOP}--==A==\n\n--==A==--\n"), &[""]);
    check(&format!("{TOP}--==A==  \n\none\n--==A==--  "), &["one"]);
    check(&format!("From someone\n{TOP}--==A==\n\none\n--==A==--\n"), &["one"]);
}

#[test]
fn takes_only_whole_lines_for_boundaries() {
    check(
        &format!("{TOP}--==A==\n\necho --==A==\n --==A==\n--==A==x\n--==A==---\n--==A==--\n"),
        &["echo --==A==\n --==A==\n--==A==x\n--==A==---"],
    );
}

#[test]
fn descends_into_multiparts() {
    let inner =
        "Content-Type: multipart/mixed; boundary===A==B\n\n--==A==B\n\none\n--==A==B\n\ntwo\n--==A==B--\n";
    check(&format!("{TOP}--==A==\n{inner}\n--==A==\n\nthree\n--==A==--\n"), &["one", "two", "three"]);
    let unclosed = inner.trim_end_matches("--==A==B--\n");
    check(&format!("{TOP}--==A==\n{unclosed}--==A==\n\nthree\n--==A==--\n"), &["one", "two", "three"]);
}

#[test]
fn descends_into_messages() {
    let message = "Content-Type: message/rfc822\n\n";
    check(
        &format!("{TOP}--==A==\n{message}A: b\nContent-Type: text/x-a\n\none\n--==A==\n\ntwo\n--==A==--\n"),
        &["one", "two"],
    );
    let inner =
        "Content-Type: multipart/mixed; boundary=inner\n\n--inner\n\none\n--inner\n\ntwo\n--inner--\n";
    check(
        &format!("{TOP}--==A==\n{message}{inner}\n--==A==\n\nthree\n--==A==--\n"),
        &["one", "two", "three"],
    );
    let delivery = format!("{TOP}--==A==\nContent-Type: message/delivery-status\n\nA: b\n\nc\n--==A==--\n");
    check(&delivery, &["A: b\n\nc"]);
    let nested = |depth: usize| format!("MIME-Version: 1.0\n{}", message.repeat(depth));
    assert!(leaves(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert!(leaves(nested(MAX_DEPTH + 1).as_bytes()).is_err());
}

#[test]
fn lets_a_leaf_that_nothing_ends_go_to_the_end() {
    check(&format!("{TOP}--==A==\n\none\ntwo\n"), &["one\ntwo"]);
    check("MIME-Version: 1.0\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n", &["#!/bin/sh\n"]);
    check(TOP, &[]);
}

#[test]
fn ends_headers_at_the_first_line_that_is_none() {
    check(&format!("{TOP}--==A==\n: x\n#!/bin/sh\n: x\n--==A==--\n"), &["#!/bin/sh\n: x"]);
    check(&format!("{TOP}--==A==\nA: b\n c: d\n#!/bin/sh\n--==A==--\n"), &["#!/bin/sh"]);
    check(&format!("{TOP}--==A==\n--==A==\n\none\n--==A==--\n"), &["one"]);
}

#[test]
fn reads_headers() {
    let text = format!(
        "{TOP}--==A==\nContent-Type: Text/Cloud-Config; charset=\"us-ascii\";\n name=old\n\
         Content-Transfer-Encoding: BASE64\nContent-Disposition: attachment; filename=\"w rker.yaml\"\n\n--==A==--\n"
    );
    let leaf = leaves(text.as_bytes()).unwrap().unwrap().pop().unwrap();
    assert_eq!(leaf.headers.content_type.as_deref(), Some("text/cloud-config"));
    assert_eq!(leaf.headers.file_name.as_deref(), Some("w rker.yaml"));
    assert_eq!(leaf.headers.transfer_encoding.as_deref(), Some("base64"));
}

#[test]
fn knows_what_is_no_mime() {
    for text in
        ["", "#cloud-config\n", "[amiconfig]\nplugins=cernvm\n", "A: b\n\ntext\n", "\nMIME-Version: 1.0\n\n"]
    {
        assert!(leaves(text.as_bytes()).unwrap().is_none(), "{text}");
    }
}

#[test]
fn bounds_leaves_and_depth() {
    let part = "--==A==\n\n\n";
    assert!(leaves(format!("{TOP}{}", part.repeat(MAX_LEAVES)).as_bytes()).is_ok());
    assert!(leaves(format!("{TOP}{}", part.repeat(MAX_LEAVES + 1)).as_bytes()).is_err());
    let nested = |depth: usize| -> String {
        (0..depth).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect()
    };
    assert!(leaves(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert!(leaves(nested(MAX_DEPTH + 1).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn takes_any_bytes(rest in "(--b|--|\n|\r\n|x|Content-Type: multipart/mixed; boundary=b|: | ){0,60}") {
        let text = format!("Content-Type: multipart/mixed; boundary=b\n\n{rest}");
        let mut end = 0;
        for leaf in leaves(text.as_bytes()).unwrap().unwrap() {
            prop_assert!(leaf.body.start >= end && leaf.body.end >= leaf.body.start);
            end = leaf.body.end;
        }
        prop_assert!(end <= text.len());
    }

    #[test]
    fn takes_any_headers(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = leaves(&[b"MIME-Version: 1.0\nContent-Type: ", bytes.as_slice()].concat());
    }

    #[test]
    fn takes_any_parameters(text in "[\"=;/\\\\()*%'a01 \n\t]{0,60}") {
        let _ = leaves(format!("MIME-Version: 1.0\nContent-Type: multipart/mixed{text}").as_bytes());
    }
}
