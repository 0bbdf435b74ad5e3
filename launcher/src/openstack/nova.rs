//! Nova, and what Cinder says beside it: flavours, limits and servers.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use client::types::HeaderMap;
use client::types::header::DATE;
use serde_json::Value;

use super::calls::Call;
use super::error::{CloudError, CloudService, one_line};
use super::servers::{Listed, Server, Servers};
use super::session::Session;
use crate::quota::{Limit, Limits};

/// A size of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flavour {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Memory in MB.
    pub ram: u64,
    /// Processors.
    pub vcpus: u64,
}

/// So many pages are read of a list: a thousand entries each.
const MAX_PAGES: usize = 20;

impl Session {
    /// The flavours that the project can use.
    ///
    /// # Errors
    /// Nova does not tell them.
    pub fn flavours(&mut self) -> Result<Vec<Flavour>, CloudError> {
        let mut flavours: Vec<Flavour> = Vec::new();
        for _ in 0..MAX_PAGES {
            let path = match flavours.last() {
                None => "flavors/detail".to_owned(),
                Some(last) => format!("flavors/detail?marker={}", last.id),
            };
            let page = self.json(CloudService::Nova, &Call::get(&path))?;
            let Some(found) = page["flavors"].as_array() else {
                return Err(CloudError::nonsense(CloudService::Nova, "no list of flavours"));
            };
            flavours.extend(found.iter().filter_map(flavour));
            if !has_next(&page, "flavors_links") {
                break;
            }
        }
        Ok(flavours)
    }

    /// What the project may have of servers; of volumes too, in a cloud that has them.
    ///
    /// # Errors
    /// Nova or Cinder does not tell it.
    pub fn limits(&mut self) -> Result<Limits, CloudError> {
        let nova = self.absolute_limits(CloudService::Nova)?;
        let of = |limits: &Value, max: &str, used: &str| {
            Some(Limit { max: limits[max].as_i64()?, used: limits[used].as_i64()? })
        };
        let mut limits = Limits {
            instances: of(&nova, "maxTotalInstances", "totalInstancesUsed"),
            vcpus: of(&nova, "maxTotalCores", "totalCoresUsed"),
            ram_mb: of(&nova, "maxTotalRAMSize", "totalRAMUsed"),
            ..Limits::default()
        };
        if self.offers(CloudService::Cinder) {
            let cinder = self.absolute_limits(CloudService::Cinder)?;
            limits.volumes = of(&cinder, "maxTotalVolumes", "totalVolumesUsed");
            limits.volume_gb = of(&cinder, "maxTotalVolumeGigabytes", "totalGigabytesUsed");
        }
        Ok(limits)
    }

    fn absolute_limits(&mut self, service: CloudService) -> Result<Value, CloudError> {
        let mut answer = self.json(service, &Call::get("limits"))?;
        match answer["limits"]["absolute"].take() {
            limits @ Value::Object(_) => Ok(limits),
            _ => Err(CloudError::nonsense(service, "no limits")),
        }
    }

    /// The servers of the project by their ids. One that was deleted is not there, or is `DELETED`.
    ///
    /// # Errors
    /// Nova does not tell them.
    pub fn servers(&mut self) -> Result<&BTreeMap<String, Server>, CloudError> {
        // After a failure all are asked for.
        let before = std::mem::take(&mut self.servers);
        let since = before.since();
        let asked = Instant::now();
        let listed = self.list_servers(since.as_deref())?;
        self.servers = match since {
            Some(_) => before.updated(listed),
            None => Servers::of_all(asked, listed),
        };
        Ok(&self.servers.known)
    }

    /// Asks for all servers, or for those that have changed.
    fn list_servers(&mut self, since: Option<&str>) -> Result<Listed, CloudError> {
        let mut servers: Vec<(String, Server)> = Vec::new();
        let mut told = None;
        for page in 0..MAX_PAGES {
            let mut query: Vec<String> = Vec::new();
            query.extend(since.map(|since| format!("changes-since={since}")));
            query.extend(servers.last().map(|(last, _)| format!("marker={last}")));
            let path = format!("servers/detail?{}", query.join("&"));
            let answer = self.ask(CloudService::Nova, &Call::get(path.trim_end_matches('?')))?;
            if page == 0 {
                told = date(&answer.headers);
            }
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let Some(found) = body["servers"].as_array() else {
                return Err(CloudError::nonsense(CloudService::Nova, "no list of servers"));
            };
            servers.extend(found.iter().filter_map(server));
            if !has_next(&body, "servers_links") {
                break;
            }
        }
        Ok(Listed { told, servers })
    }
}

fn has_next(page: &Value, links: &str) -> bool {
    page[links].as_array().is_some_and(|links| links.iter().any(|link| link["rel"] == "next"))
}

fn flavour(value: &Value) -> Option<Flavour> {
    Some(Flavour {
        id: value["id"].as_str()?.to_owned(),
        name: value["name"].as_str()?.to_owned(),
        ram: value["ram"].as_u64()?,
        vcpus: value["vcpus"].as_u64()?,
    })
}

fn server(value: &Value) -> Option<(String, Server)> {
    let networks = value["addresses"].as_object();
    let entries = networks.into_iter().flat_map(|networks| networks.values()).filter_map(Value::as_array);
    let addresses = entries.flatten().filter_map(|entry| entry["addr"].as_str()).map(str::to_owned);
    let server = Server {
        id: value["id"].as_str()?.to_owned(),
        name: one_line(value["name"].as_str().unwrap_or_default()),
        status: value["status"].as_str()?.to_owned(),
        addresses: addresses.collect(),
        fault: value["fault"]["message"].as_str().map(one_line),
    };
    Some((server.id.clone(), server))
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}
