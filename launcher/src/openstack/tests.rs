use serde_json::json;

use client::types::HeaderMap;

use super::calls::{CloudAnswer, refusal, split};
use super::*;

fn of_variables(variables: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    from_environment(&variable, None)
}

const USER: [(&str, &str); 4] = [
    ("OS_AUTH_URL", "http://cloud:5000/v3"),
    ("OS_USERNAME", "demo"),
    ("OS_PASSWORD", "geheim"),
    ("OS_PROJECT_NAME", "lab"),
];

#[test]
fn takes_a_password_from_the_environment_and_shows_it_nowhere() {
    let mut variables = USER.to_vec();
    variables.extend([("OS_USER_DOMAIN_NAME", "Default"), ("OS_REGION_NAME", "here")]);
    let read = of_variables(&variables).unwrap();
    assert!(!format!("{read:?}").contains("geheim"));
    assert_eq!(read.region.as_deref(), Some("here"));
    assert_eq!(
        read.to_json(),
        json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": {
                "name": "demo", "domain": { "name": "Default" }, "password": "geheim",
            } } },
            "scope": { "project": { "name": "lab", "domain": { "id": "default" } } },
        } })
    );
}

#[test]
fn an_application_credential_needs_no_project() {
    let read = of_variables(&[
        ("OS_AUTH_URL", "http://cloud:5000"),
        ("OS_APPLICATION_CREDENTIAL_ID", "abc"),
        ("OS_APPLICATION_CREDENTIAL_SECRET", "geheim"),
    ]);
    assert_eq!(
        read.unwrap().to_json(),
        json!({ "auth": { "identity": {
            "methods": ["application_credential"],
            "application_credential": { "id": "abc", "secret": "geheim" },
        } } })
    );
}

#[test]
fn names_what_is_missing_or_cannot_be_used() {
    assert_eq!(of_variables(&[]), Err(CredentialsError::None));
    for (left_out, _) in &USER[1..] {
        let variables: Vec<_> = USER.into_iter().filter(|(name, _)| name != left_out).collect();
        let wanted = left_out.trim_start_matches("OS_").to_ascii_lowercase();
        match of_variables(&variables) {
            Err(CredentialsError::Missing(name)) => assert_eq!(name, wanted),
            other => panic!("{other:?}"),
        }
    }
    for (name, value) in [
        ("OS_AUTH_TYPE", "v3oidc"),
        ("OS_INTERFACE", "secret"),
        ("OS_INSECURE", "true"),
        ("OS_CACERT", "/nowhere"),
    ] {
        let mut variables = USER.to_vec();
        variables.push((name, value));
        assert!(of_variables(&variables).is_err(), "{name}");
    }
}

#[test]
fn reads_clouds_yaml_with_secure_yaml_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clouds.yaml");
    let text = "clouds:\n  lab:\n    region_name: here\n    interface: internalURL\n    auth:\n      auth_url: https://k/v3\n      \
                username: demo\n      project_id: 17\n      user_domain_id: d\n  other:\n    auth: {auth_url: http://o}\n";
    std::fs::write(&file, text).unwrap();
    std::fs::write(dir.path().join("secure.yaml"), "clouds: {lab: {auth: {password: geheim}}}").unwrap();
    let path = file.display().to_string();
    let variable = |name: &str| (name == "OS_CLIENT_CONFIG_FILE").then(|| path.clone());
    let read = from_environment(&variable, Some("lab")).unwrap();
    assert_eq!((read.auth_url.as_str(), read.interface), ("https://k/v3", Interface::Internal));
    assert_eq!(read.scope, Some(NameOrId::Id("17".to_owned())));
    let password = SecretString::new("geheim");
    assert_eq!(
        read.login,
        Login::Password { user: NameOrId::Name("demo".into(), Domain::Id("d".into())), password }
    );
    assert_eq!(auth_urls(&variable).unwrap(), ["https://k/v3", "http://o"]);
    let error = from_environment(&variable, Some("nowhere")).unwrap_err();
    assert_eq!(error.to_string(), format!("no cloud nowhere in {path}"));
}

#[test]
fn splits_addresses_and_takes_auth_url_with_and_without_its_version() {
    assert_eq!(split("https://h:1/a/b?c"), Ok(("https://h:1", "/a/b?c")));
    assert_eq!(split("http://h"), Ok(("http://h", "")));
    assert!(split("fake").is_err());
    for url in ["http://h:5000", "http://h:5000/", "http://h:5000/v3", "http://h:5000/v3/"] {
        assert_eq!(super::keystone::tokens_url(url), "http://h:5000/v3/auth/tokens");
    }
}

#[test]
fn says_why_a_service_refuses_in_its_own_words() {
    let heat = r#"{"code":400,"title":"Bad Request","explanation":"e","error":{"type":"T","message":"m"}}"#;
    let keystone = r#"{"error":{"code":401,"title":"Unauthorized","message":"m"}}"#;
    let lines = r#"{"title":"T","error":{"message":"a\nb\u001bc"}}"#;
    let nova = r#"{"itemNotFound":{"code":404,"message":"m"}}"#;
    for (service, status, body, title, said) in [
        (CloudService::Heat, 400, heat, Some("Bad Request"), "m"),
        (CloudService::Keystone, 401, keystone, Some("Unauthorized"), "m"),
        (CloudService::Nova, 404, nova, None, "m"),
        (CloudService::Heat, 400, lines, Some("T"), "a b c"),
        (CloudService::Heat, 503, "<html>", None, "Service Unavailable"),
        (CloudService::Heat, 500, "[1]", None, "Internal Server Error"),
    ] {
        let error = refusal(service, &CloudAnswer { status, headers: HeaderMap::new(), body: body.into() });
        assert_eq!((error.title.as_deref(), error.said.as_str()), (title, said), "{body}");
        assert_eq!(error.cause, Cause::Status(status));
    }
}

#[test]
fn knows_what_the_statuses_of_stacks_mean() {
    for (status, wanted) in [
        ("CREATE_IN_PROGRESS", StackStatus::Building),
        ("CREATE_COMPLETE", StackStatus::Built),
        ("UPDATE_COMPLETE", StackStatus::Built),
        ("CREATE_FAILED", StackStatus::Failed),
        ("ROLLBACK_COMPLETE", StackStatus::Failed),
        ("DELETE_IN_PROGRESS", StackStatus::Going),
        ("DELETE_COMPLETE", StackStatus::Gone),
        ("DELETE_FAILED", StackStatus::Failed),
        ("", StackStatus::Failed),
    ] {
        assert_eq!(StackStatus::of(status), wanted, "{status}");
    }
}
