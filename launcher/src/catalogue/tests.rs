use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// A catalogue of recorded definitions: the original was asked for the same ones.
pub(crate) fn recorded(set: &str) -> (TempDir, Catalogue) {
    let dir = tempfile::tempdir().unwrap();
    let types = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/builder/types").join(set);
    symlink(types.canonicalize().unwrap(), dir.path().join(ENABLED)).unwrap();
    let catalogue = Catalogue::new(dir.path().to_owned());
    (dir, catalogue)
}

fn ids(listing: &Listing) -> Vec<&str> {
    listing.types.iter().map(|found| found.id.as_str()).collect()
}

#[test]
fn lists_valid_definitions_by_order_and_id() {
    let (_dir, catalogue) = recorded("main");
    let listing = catalogue.read().unwrap();
    assert_eq!(ids(&listing), ["minus", "lone", "pair", "half", "kube", "spark"]);
    assert!(listing.broken.is_empty(), "{:?}", listing.broken);
    let names: Vec<_> = listing.types[0].parameters.keys().collect();
    assert_eq!(names, ["zeta", "alpha", "Mid", "yes"], "the author's order");
    let (_dir, catalogue) = recorded("odd");
    let listing = catalogue.read().unwrap();
    assert_eq!((listing.types.len(), listing.broken.len()), (14, 0));
}

#[test]
fn names_file_and_line_of_every_broken_definition_and_lists_the_good_one() {
    let (dir, catalogue) = recorded("broken");
    let listing = catalogue.read().unwrap();
    assert_eq!(ids(&listing), ["good"]);
    assert_eq!(listing.broken.len(), 56, "{:?}", listing.broken.keys());
    let shown = |id: &str| {
        let lines: Vec<_> = listing.broken[id].iter().map(Problem::to_string).collect();
        lines.join("\n").replace(&format!("{}/{ENABLED}/{id}/", dir.path().display()), "")
    };
    for (id, wanted) in [
        ("syntax", "cluster-type.yaml:1: no YAML"),
        ("empty", "cluster-type.yaml: the file is empty"),
        ("two-documents", "cluster-type.yaml:2: no YAML: a second document"),
        ("order-true", "cluster-type.yaml:4: order is a boolean; it must be a number"),
        ("title-number", "cluster-type.yaml:1: title is a number; it must be a text; put it in quotes"),
        ("heat-component-key", "components/c.yaml:6: description is no key of a component"),
        ("heat-component-get-file", "components/c.yaml:6: get_file: no such file: components/nowhere.txt"),
        ("heat-missing-component", "cluster-type.yaml:6: component d: no such file: components/d.yaml"),
        ("heat-no-net", "cluster-type.yaml:6: no component has a resource of type OS::Neutron::Net"),
        ("heat-component-name", "cluster-type.yaml:6: name is missing"),
    ] {
        assert!(shown(id).starts_with(wanted), "{id}: {}", shown(id));
        assert_eq!(shown(id).lines().count(), 1, "{}", shown(id));
    }
}

#[test]
fn no_definition_breaks_the_list() {
    // For each of them the original answers 500 to a request for the list.
    for (set, wanted) in [
        ("crash-folder", "cluster-type.yaml: is no regular file"),
        ("crash-instruction", "cluster-type.yaml:8: title is missing"),
        ("crash-number", "components/c.yaml:1: a template is a number"),
        ("crash-resource", "components/c.yaml:2: the resource r has no type"),
        ("crash-resource-text", "components/c.yaml:2: the resource r is a text"),
        ("crash-utf8", "cluster-type.yaml: no UTF-8"),
    ] {
        let (_dir, catalogue) = recorded(set);
        let listing = catalogue.read().unwrap();
        assert_eq!((listing.types.len(), listing.broken.values().flatten().count()), (0, 1), "{set}");
        let broken = listing.broken.values().flatten().next().unwrap().to_string();
        assert!(broken.contains(wanted), "{set}: {broken}");
        assert!(matches!(catalogue.find("x"), Err(FindError::Broken { .. })));
    }
}

#[test]
fn an_id_does_not_lead_out_of_the_catalogue() {
    let (_dir, catalogue) = recorded("main");
    assert!(catalogue.find("pair").is_ok());
    let long = "x".repeat(256);
    for id in ["", ".", "..", "../pair", "pair/", "./pair", "pair/../pair", "a\0b", "nobody", long.as_str()] {
        let error = catalogue.find(id).unwrap_err();
        assert!(matches!(error, FindError::Unknown(_)), "{id:?}");
        assert_eq!(error.to_string(), format!("Unknown cluster type: {id}"));
    }
    let (_dir, catalogue) = recorded("odd");
    assert!(catalogue.find(".hidden").is_err(), "neither listed nor shown");
}

#[test]
fn a_catalogue_that_is_not_there_is_empty_and_one_that_cannot_be_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::new(dir.path().to_owned());
    assert!(catalogue.read().unwrap().types.is_empty());
    fs::write(catalogue.enabled(), "").unwrap();
    assert!(catalogue.read().is_err());
}

#[test]
fn the_command_shows_types_and_what_is_broken() {
    let (dir, catalogue) = recorded("crash-number");
    let listing = catalogue.read().unwrap();
    let file = dir.path().join(ENABLED).join("x/components/c.yaml");
    let shown = text(&listing);
    assert_eq!(
        shown,
        format!(
            "no cluster types\nbroken: {}:1: a template is a number; it must be a mapping",
            file.display()
        )
    );
    let (_dir, catalogue) = recorded("merge");
    let listing = catalogue.read().unwrap();
    assert!(text(&listing).starts_with("all-optional         heat    t\n"), "{}", text(&listing));
    let json = to_json(&listing);
    assert_eq!(
        (json["types"][0]["id"].as_str(), json["types"][0]["kind"].as_str()),
        (Some("all-optional"), Some("heat"))
    );
}
