//! Where clusters are kept: the flags that say so, what is opened for each, and what is said of it in the log.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use crate::clock::Clock;
use crate::error::Error;
use crate::etcd;
use crate::etcd_args::EtcdArgs;
use crate::flag_values::switch;
use crate::store::{FILE_NAME, LOG_NAME, Limits, Observer, Store};

/// An opening of the store that took longer is worth a line.
const NOTABLE_OPENING: Duration = Duration::from_secs(1);

/// Where to keep clusters.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Storage")]
pub(crate) struct StorageArgs {
    /// Directory for the store's file, and for the key of --tls-self-signed.
    #[arg(long, value_name = "DIR", default_value = "cernvm-pairing-data", env = "CERNVM_PAIRING_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Keep everything in memory, and forget it at the end.
    #[arg(long, env = "CERNVM_PAIRING_IN_MEMORY", value_parser = switch, conflicts_with = "etcd")]
    pub(crate) in_memory: bool,

    #[command(flatten)]
    etcd: EtcdArgs,
}

impl StorageArgs {
    /// What the flags say.
    ///
    /// # Errors
    /// Those of the flags for etcd.
    pub(crate) fn storage(&self) -> Result<Storage, Error> {
        Ok(match self.etcd.config()? {
            Some(etcd) => Storage::Etcd(etcd),
            None if self.in_memory => Storage::Memory,
            None => Storage::Directory(self.data_dir.clone()),
        })
    }
}

/// Where clusters are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In a file of this directory.
    Directory(PathBuf),
    /// In memory, until the process ends.
    Memory,
    /// In an etcd cluster, which other servers may share.
    Etcd(pairing_etcd::Config),
}

impl Storage {
    /// The directory that it is in, if it is in one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(dir) => Some(dir),
            Self::Memory | Self::Etcd(_) => None,
        }
    }

    /// Opens the store. One in etcd is loaded as a whole first.
    ///
    /// # Errors
    /// The store cannot be opened, or not in time.
    pub(crate) async fn open(
        &self,
        limits: Limits,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Result<(Arc<Store>, etcd::EtcdStatus), Error> {
        let begun = Instant::now();
        let local = |store| (store, etcd::EtcdStatus::default());
        let (store, journal) = match self {
            Self::Directory(dir) => {
                warn_if_open(dir);
                let store = Store::open(dir, limits, clock, observer)?;
                if let Some(warning) = over_budget(store.stats().bytes, limits.bytes) {
                    log::warn!("{}: {warning}", dir.display());
                }
                local(store)
            }
            Self::Memory => local(Store::in_memory(limits, clock, observer)),
            Self::Etcd(wanted) => etcd::open(wanted.clone(), limits, clock, observer).await?,
        };
        if begun.elapsed() > NOTABLE_OPENING {
            let (stats, seconds) = (store.stats(), begun.elapsed().as_secs_f32());
            log::info!("the store was loaded in {seconds:.1} s: pins {}, keys {}", stats.pins, stats.keys);
        }
        Ok((Arc::new(store), journal))
    }
}

/// In a few words, for the log.
impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => write!(f, "data in {}", dir.display()),
            Self::Memory => f.write_str("data in memory, lost at the end"),
            Self::Etcd(etcd) => {
                write!(f, "data in etcd at {} below {}", etcd.urls.join(","), etcd.prefix)
            }
        }
    }
}

/// What is to be said of a store that was larger than the budget when it was loaded. All of it is loaded: a key that is
/// there has to be found.
pub(crate) fn over_budget(bytes: usize, limit: usize) -> Option<String> {
    let mib = |bytes: usize| bytes.div_ceil(1 << 20);
    (bytes > limit).then(|| {
        format!(
            "what is stored takes {} MiB of memory, and --memory-budget has {} MiB for it; new pins and longer values are \
             refused until enough has expired. Raise --memory-budget, or stop the service and run purge",
            mib(bytes),
            mib(limit)
        )
    })
}

/// Warns of a data directory, or a store, into which other users can look: the pins in it are as good as passwords.
fn warn_if_open(dir: &Path) {
    for warning in open_to_others(dir) {
        log::warn!("{warning}");
    }
}

fn open_to_others(dir: &Path) -> Vec<String> {
    let paths = [(dir.to_owned(), "0700"), (dir.join(FILE_NAME), "0600"), (dir.join(LOG_NAME), "0600")];
    let open =
        (paths.iter()).filter(|(path, _)| fs::metadata(path).is_ok_and(|found| found.mode() & 0o007 != 0));
    open.map(|(path, mode)| {
        format!("{}: other users of this machine can look into it; chmod {mode} it", path.display())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warns_of_what_other_users_can_look_into() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let (dir, store) = (home.path().join("data"), home.path().join("data").join(FILE_NAME));
        fs::create_dir(&dir).unwrap();
        fs::write(&store, "").unwrap();
        for (dir_mode, store_mode, advice) in [
            (0o700, 0o600, &[][..]),
            (0o750, 0o640, &[]),
            (0o755, 0o600, &["data: other users of this machine can look into it; chmod 0700 it"]),
            (0o700, 0o644, &["pairing.redb: other users of this machine can look into it; chmod 0600 it"]),
        ] {
            fs::set_permissions(&store, fs::Permissions::from_mode(store_mode)).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(dir_mode)).unwrap();
            let said = open_to_others(&dir);
            assert_eq!(said.len(), advice.len(), "{said:?}");
            assert!(said.iter().zip(advice).all(|(said, advice)| said.ends_with(advice)), "{said:?}");
        }
    }
}
