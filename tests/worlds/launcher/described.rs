//! What the launcher answers is what its openapi.json says: no field that must be there lacks, and none is there that is not
//! described.

use serde_json::{Value, json};
use worlds::service::Service;
use worlds::wait::until;

use crate::api::{Api, request};
use crate::cloud::{Cloud, Manners};
use crate::cluster::{boot, stack};
use crate::home::Home;

/// The description that the launcher gives.
struct Description(Value);

impl Description {
    fn follow<'a>(&'a self, part: &'a Value) -> &'a Value {
        match part["$ref"].as_str() {
            Some(pointer) => self.0.pointer(&pointer[1..]).unwrap_or_else(|| panic!("there is no {pointer}")),
            None => part,
        }
    }

    /// The schema of an answer in JSON.
    fn answer(&self, method: &str, path: &str, status: u16) -> &Value {
        let responses = &self.0["paths"][path][method.to_lowercase()]["responses"];
        let response = responses.get(status.to_string()).unwrap_or(&responses["default"]);
        &self.follow(response)["content"]["application/json"]["schema"]
    }

    /// Where a value is other than its schema says.
    fn faults(&self, schema: &Value, value: &Value, place: &str) -> Vec<String> {
        let schema = self.follow(schema);
        let mut faults = Vec::new();
        let types: Vec<&str> = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        if !types.is_empty() && !types.iter().any(|kind| is_of(kind, value)) {
            faults.push(format!("{place} is {value}, and no {types:?}"));
        }
        if let Some(values) = schema["enum"].as_array()
            && !values.contains(value)
        {
            faults.push(format!("{place} is {value}, and none of {values:?}"));
        }
        if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
            let within = items.iter().enumerate();
            faults.extend(within.flat_map(|(at, item)| self.faults(schema, item, &format!("{place}/{at}"))));
        }
        let (Some(map), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else {
            return faults;
        };
        for wanted in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !map.contains_key(wanted) {
                faults.push(format!("{place} has no {wanted}"));
            }
        }
        for (name, value) in map {
            match properties.get(name) {
                Some(schema) => faults.extend(self.faults(schema, value, &format!("{place}/{name}"))),
                None => faults.push(format!("{place}/{name} is not described")),
            }
        }
        faults
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the description has a type {other}"),
    }
}

#[test]
fn every_operation_answers_as_it_is_described() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let mut api = Api::start(&home, &cloud, &service.url());
    let description = Description(api.ask("GET", "/openapi.json", None).json());
    let mut asked = Vec::new();
    let mut ask = |method: &str, path: &str, id: &str, body: Option<&Value>, status: u16| {
        let answer = api.ask(method, &path.replace("{id}", id), body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        asked.push(format!("{method} {path}"));
        let schema = description.answer(method, path, status);
        let is_json = answer.headers.get("content-type").is_some_and(|kind| kind == "application/json");
        assert_eq!(!schema.is_null(), is_json, "{method} {path} {status}");
        if is_json {
            let faults = description.faults(schema, &answer.json(), &format!("{method} {path}"));
            assert!(faults.is_empty(), "{faults:#?}");
        }
        answer
    };
    for path in ["/openapi.json", "/healthz", "/metrics", "/cluster-types/"] {
        ask("GET", path, "", None, 200);
    }
    ask("GET", "/cluster-types/{id}", "workers", None, 200);
    ask("GET", "/cluster-types/{id}", "none", None, 404);
    let mut wrong = request(&cloud);
    wrong["cluster"]["parameters"]["worker-count"] = json!(200);
    ask("POST", "/clusters/", "", Some(&wrong), 400);
    ask("POST", "/clusters/", "", Some(&request(&cloud)), 201);
    ask("GET", "/clusters/{id}", "lab", None, 200);
    boot(&stack(&cloud));
    until("it is ready", || {
        let seen = ask("GET", "/clusters/{id}", "lab", None, 200).json();
        (seen["state"] == "ready" && seen["servers"][2]["status"] == "ACTIVE").then_some(())
    });
    ask("GET", "/clusters/", "", None, 200);
    ask("DELETE", "/clusters/{id}", "lab", None, 204);
    ask("GET", "/clusters/{id}", "lab", None, 404);
    // An operation that is described later is to be asked here, too.
    for (path, there) in description.0["paths"].as_object().expect("there are paths") {
        for method in there.as_object().expect("it is an object").keys().filter(|key| *key != "parameters") {
            let operation = format!("{} {path}", method.to_uppercase());
            assert!(asked.contains(&operation), "{operation} is not asked");
        }
    }
    api.stop();
}
