//! Cinder: limits.

use super::error::{CloudError, Service};
use super::session::{Call, Session};

/// What a project may have of volumes, and has. A limit below 0 is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeLimits {
    /// Most volumes, and how many there are.
    pub volumes: (i64, i64),
    /// Most of their size together, and how much is used, in GB.
    pub gigabytes: (i64, i64),
}

impl Session {
    /// What the project may have of volumes; `None` in a cloud without Cinder.
    ///
    /// # Errors
    /// Cinder does not tell it.
    pub fn volume_limits(&mut self) -> Result<Option<VolumeLimits>, CloudError> {
        if !self.offers(Service::Cinder) {
            return Ok(None);
        }
        let answer = self.json(Service::Cinder, &Call::get("limits"))?;
        let limits = &answer["limits"]["absolute"];
        let pair = |most: &str, used: &str| Some((limits[most].as_i64()?, limits[used].as_i64()?));
        let read = || {
            Some(VolumeLimits {
                volumes: pair("maxTotalVolumes", "totalVolumesUsed")?,
                gigabytes: pair("maxTotalVolumeGigabytes", "totalGigabytesUsed")?,
            })
        };
        read().map(Some).ok_or_else(|| CloudError::nonsense(Service::Cinder, "limits that lack one"))
    }
}
