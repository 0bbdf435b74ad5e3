//! Nova, and what Cinder says beside it: flavours and limits.

use serde_json::Value;

use super::calls::Call;
use super::error::{CloudError, CloudService};
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
pub(super) const MAX_PAGES: usize = 20;

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
}

pub(super) fn has_next(page: &Value, links: &str) -> bool {
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
