//! `clouds.yaml`: the clouds that a user knows, with `secure.yaml` beside it for what others must not read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::credentials::CredentialsError;
use crate::yaml::{self, Dates};

/// The fields of a cloud by their names in the file, those below `auth` among them.
pub(super) type Fields = BTreeMap<String, String>;

/// The places where the file may be, the first that is there counts (openstacksdk, "Configuration Files").
fn places(variable: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    if let Some(file) = variable("OS_CLIENT_CONFIG_FILE") {
        return vec![file.into()];
    }
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| Some(Path::new(&variable("HOME")?).join(".config")));
    let user = config.map(|config| config.join("openstack"));
    let folders = [Some(PathBuf::from(".")), user, Some("/etc/openstack".into())];
    folders.into_iter().flatten().map(|folder| folder.join("clouds.yaml")).collect()
}

/// The fields of one cloud.
pub(super) fn cloud(
    variable: &dyn Fn(&str) -> Option<String>,
    name: &str,
) -> Result<Fields, CredentialsError> {
    let places = places(variable);
    let file = places.iter().find(|place| place.exists());
    let unknown = || CredentialsError::UnknownCloud {
        cloud: name.to_owned(),
        places: places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", "),
    };
    let file = file.ok_or_else(unknown)?;
    let mut fields = fields_of(&read(file)?, name).ok_or_else(unknown)?;
    let secure = file.with_file_name("secure.yaml");
    if secure.exists() {
        fields.extend(fields_of(&read(&secure)?, name).unwrap_or_default());
    }
    Ok(fields)
}

/// The addresses of Keystone that the environment knows: `OS_AUTH_URL`, and those of all clouds of `clouds.yaml`.
///
/// # Errors
/// The file is there and cannot be used.
pub fn auth_urls(variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, CredentialsError> {
    let mut urls: Vec<String> = variable("OS_AUTH_URL").into_iter().collect();
    if let Some(file) = places(variable).iter().find(|place| place.exists()) {
        let clouds = read(file)?;
        let clouds = clouds["clouds"].as_object().cloned().unwrap_or_default();
        urls.extend(
            clouds.values().filter_map(|cloud| cloud["auth"]["auth_url"].as_str()).map(str::to_owned),
        );
    }
    Ok(urls)
}

fn read(file: &Path) -> Result<Value, CredentialsError> {
    let unusable = |problem: String| CredentialsError::File { file: file.display().to_string(), problem };
    let text = fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    let root = yaml::parse(&text, Dates::AreTexts).map_err(|invalid| unusable(invalid.to_string()))?;
    Ok(root.map(|root| root.to_json()).unwrap_or_default())
}

fn fields_of(file: &Value, name: &str) -> Option<Fields> {
    let cloud = file["clouds"].get(name)?.as_object()?;
    let auth = cloud.get("auth").and_then(Value::as_object);
    let mut fields = Fields::new();
    for (name, value) in auth.into_iter().flatten().chain(cloud) {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => continue,
        };
        fields.insert(name.clone(), text);
    }
    Some(fields)
}
