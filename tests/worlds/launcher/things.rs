//! What the stand-in for a cloud has besides stacks: keys, images, networks, volumes. The answers have the form of the real
//! services' (Nova 2.1, Glance v2, Neutron v2.0, Cinder v3), and say 404 as each of them does.

use serde_json::{Value, json};
use worlds::mock_server::Reply;

/// The id of the image `tiny`.
pub(crate) const IMAGE: &str = "a1f0c6d2-3a5b-4a52-9a0e-0d3a4f1b2c3d";
/// The id of the network `outside`.
pub(crate) const NETWORK: &str = "5b4a0c52-8f0a-4d4e-9f70-6f6d2a6f1e11";
/// The id of the server `old`, and of the volume `data`.
pub(crate) const OTHER: &str = "9168b536-cd40-4630-b43f-b259807c6e87";

/// Images by name: two are called `twin`.
const IMAGES: [(&str, &str); 3] = [
    (IMAGE, "tiny"),
    ("b1f0c6d2-3a5b-4a52-9a0e-0d3a4f1b2c3d", "twin"),
    ("c1f0c6d2-3a5b-4a52-9a0e-0d3a4f1b2c3d", "twin"),
];
/// What Neutron has of everything: two are called `twin`.
const NETWORKS: [(&str, &str); 3] = [
    (NETWORK, "outside"),
    ("6b4a0c52-8f0a-4d4e-9f70-6f6d2a6f1e11", "twin"),
    ("7b4a0c52-8f0a-4d4e-9f70-6f6d2a6f1e11", "twin"),
];

/// Answers what is neither about stacks nor about sizes.
pub(crate) fn answer(path: &[&str], query: &str) -> Reply {
    let asked: Vec<(&str, &str)> = query.split('&').filter_map(|part| part.split_once('=')).collect();
    let value = |name: &str| asked.iter().find(|(known, _)| *known == name).map(|(_, value)| decoded(value));
    let fits = |id: &str, name: &str| {
        value("id").is_none_or(|wanted| wanted == id) && value("name").is_none_or(|wanted| wanted == name)
    };
    match path {
        ["nova", "os-keypairs"] => Reply::json(
            200,
            &json!({ "keypairs": [{ "keypair": {
                "name": "key", "public_key": "ssh-ed25519 AAAA demo", "fingerprint": "44:fe:29:6e:23:14",
            } }] }),
        ),
        ["nova", "servers", id] if decoded(id) == OTHER => Reply::json(
            200,
            &json!({ "server": { "id": OTHER, "name": "old", "status": "ACTIVE", "addresses": {} } }),
        ),
        ["nova", "servers", id] => item_not_found(&format!("Instance {} could not be found.", decoded(id))),
        ["cinder", _, _, "limits"] => Reply::json(
            200,
            &json!({ "limits": { "rate": [], "absolute": {
                "maxTotalVolumes": 10, "totalVolumesUsed": 0,
                "maxTotalVolumeGigabytes": 1000, "totalGigabytesUsed": 0,
            } } }),
        ),
        ["cinder", _, _, "types"] => Reply::json(
            200,
            &json!({ "volume_types": [{
                "id": OTHER, "name": "ssd", "is_public": true, "description": null, "extra_specs": {},
                "qos_specs_id": null, "os-volume-type-access:is_public": true,
            }] }),
        ),
        ["cinder", _, _, "volumes", id] if decoded(id) == OTHER => Reply::json(
            200,
            &json!({ "volume": { "id": OTHER, "name": "data", "size": 1, "status": "available" } }),
        ),
        ["cinder", _, _, "volumes", id] => {
            item_not_found(&format!("Volume {} could not be found.", decoded(id)))
        }
        ["glance", "v2", "images"] => {
            let found = IMAGES.iter().filter(|(id, name)| fits(id, name)).map(image).collect::<Vec<_>>();
            Reply::json(
                200,
                &json!({ "images": found, "first": "/v2/images", "schema": "/v2/schemas/images" }),
            )
        }
        ["glance", "v2", "images", id] => match IMAGES.iter().find(|(known, _)| *known == decoded(id)) {
            Some(found) => Reply::json(200, &image(found)),
            None => Reply::of(
                404,
                "text/html; charset=UTF-8",
                "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n</html>",
            ),
        },
        ["neutron", "v2.0", kind] => {
            let found = NETWORKS.iter().filter(|(id, name)| fits(id, name));
            let found: Vec<Value> = found.map(|(id, _)| json!({ "id": id })).collect();
            Reply::json(200, &json!({ kind.replace('-', "_"): found }))
        }
        _ => item_not_found("The resource could not be found."),
    }
}

fn image((id, name): &(&str, &str)) -> Value {
    json!({
        "id": id, "name": name, "status": "active", "visibility": "public", "min_ram": 0, "min_disk": 0, "size": 4096,
        "protected": false, "os_hidden": false, "tags": [], "container_format": "bare", "disk_format": "raw",
        "self": format!("/v2/images/{id}"), "file": format!("/v2/images/{id}/file"), "schema": "/v2/schemas/image",
    })
}

fn item_not_found(message: &str) -> Reply {
    Reply::json(404, &json!({ "itemNotFound": { "code": 404, "message": message } }))
}

/// A value of a query or a part of a path, as it is meant.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let code = [*high, *low];
                let code = std::str::from_utf8(&code).ok().and_then(|code| u8::from_str_radix(code, 16).ok());
                bytes.push(code.expect("it is percent-encoded"));
                rest = tail;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).expect("it is text")
}
