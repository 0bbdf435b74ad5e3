//! `copy`: moves a store between a data directory, a file and an etcd cluster.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use pairing_core::store::copy::{StoreCopy, WholeCluster};
use pairing_core::store::{AtRest, FILE_NAME};
use pairing_etcd::Import;
use tokio::runtime::Runtime;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::error::Error;
use crate::etcd_args::EtcdArgs;
use crate::progress::Progress;

/// What stands for the etcd cluster of `--etcd`.
const ETCD: &str = "etcd";

/// What to copy, and where to.
#[derive(Debug, Args)]
pub struct Copy {
    /// The data directory of a service that does not run, a backup, or the word etcd for the cluster of --etcd.
    #[arg(long, value_name = "DIR|FILE|etcd", value_parser = place)]
    from: StoreLocation,
    /// A directory without a store, a file that is not there, or the word etcd for a cluster without pins.
    #[arg(long, value_name = "DIR|FILE|etcd", value_parser = place)]
    to: StoreLocation,
    #[command(flatten)]
    etcd: EtcdArgs,
}

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StoreLocation {
    Path(PathBuf),
    Etcd,
}

fn place(text: &str) -> Result<StoreLocation, String> {
    match text {
        "" => Err("it is empty".to_owned()),
        ETCD => Ok(StoreLocation::Etcd),
        path => Ok(StoreLocation::Path(path.into())),
    }
}

/// What was copied.
#[derive(Debug, Default, PartialEq, Eq)]
struct Copied {
    pins: usize,
    keys: usize,
    nodes: usize,
    expired: usize,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pins, keys, nodes, expired } = self;
        write!(f, "copied: pins {pins}, keys {keys}, nodes {nodes}; left out: expired pins {expired}")
    }
}

impl Copied {
    /// Counts a cluster. Says whether it is to be copied.
    fn count(&mut self, cluster: &WholeCluster, now: Timestamp) -> bool {
        if cluster.expires <= now {
            self.expired += 1;
            return false;
        }
        self.pins += 1;
        self.keys += cluster.keys.len();
        self.nodes += cluster.nodes.len();
        true
    }
}

impl Copy {
    /// Copies all pins that have not expired. Gives what to print.
    ///
    /// # Errors
    /// The store cannot be read, or there is something where the copy should be, or it cannot be written.
    pub fn run(&self) -> Result<String, Error> {
        let etcd = self.etcd.config()?;
        let named = || etcd.clone().ok_or(Error::NoCluster);
        let now = SystemClock.now();
        let copied = match (&self.from, &self.to) {
            (StoreLocation::Etcd, StoreLocation::Etcd) => return Err(Error::SamePlace),
            (StoreLocation::Path(from), StoreLocation::Path(to)) => {
                let clusters = read(from)?;
                NewStoreFile::new(to)?
                    .fill(|copy| each(&clusters, now, |cluster| copy.add_cluster(cluster)))?
            }
            (StoreLocation::Path(from), StoreLocation::Etcd) => {
                let (config, clusters) = (named()?, read(from)?);
                Runtime::new().map_err(Error::System)?.block_on(async {
                    let (mut import, mut copied) = (Import::begin(&config, now).await?, Copied::default());
                    let mut progress = Progress::new("copying pins");
                    for cluster in &clusters {
                        progress.step();
                        if copied.count(cluster, now) {
                            import.add(cluster).await?;
                        }
                    }
                    import.finish().await?;
                    Ok::<_, Error>(copied)
                })?
            }
            (StoreLocation::Etcd, StoreLocation::Path(to)) => {
                let config = named()?;
                let runtime = Runtime::new().map_err(Error::System)?;
                NewStoreFile::new(to)?.fill(|copy| {
                    let (mut copied, mut progress) = (Copied::default(), Progress::new("copying pins"));
                    runtime.block_on(pairing_etcd::export(&config, |cluster| {
                        progress.step();
                        if copied.count(&cluster, now) {
                            copy.add_cluster(&cluster).map_err(Error::Copy)?;
                        }
                        Ok::<_, Error>(())
                    }))?;
                    Ok(copied)
                })?
            }
        };
        Ok(copied.to_string())
    }
}

fn each(
    clusters: &[WholeCluster],
    now: Timestamp,
    mut add: impl FnMut(&WholeCluster) -> Result<(), pairing_core::Refused>,
) -> Result<Copied, Error> {
    let (mut copied, mut progress) = (Copied::default(), Progress::new("copying pins"));
    for cluster in clusters {
        progress.step();
        if copied.count(cluster, now) {
            add(cluster).map_err(Error::Copy)?;
        }
    }
    Ok(copied)
}

fn read(from: &Path) -> Result<Vec<WholeCluster>, Error> {
    let store = if from.is_dir() {
        match AtRest::is_there(from) {
            Ok(true) => AtRest::open(from)?,
            Ok(false) => return Err(Error::NoStore { dir: from.to_owned() }),
            Err(err) => return Err(Error::file("look into", from, err)),
        }
    } else {
        // Opening makes a file that is not there.
        File::open(from).map_err(|err| Error::file("read", from, err))?;
        AtRest::open_file(from)?
    };
    Ok(store.clusters()?)
}

/// The store file in the making. It goes when it was not filled.
struct NewStoreFile {
    path: PathBuf,
    file: File,
    whole: bool,
}

impl NewStoreFile {
    fn new(to: &Path) -> Result<Self, Error> {
        let path = if to.is_dir() { to.join(FILE_NAME) } else { to.to_owned() };
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(|err| Error::file("make", dir, err))?;
        }
        let mut options = OpenOptions::new();
        let made = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
        match made {
            Ok(file) => Ok(Self { path, file, whole: false }),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Err(Error::StoreExists { path }),
            Err(err) => Err(Error::file("write", &path, err)),
        }
    }

    fn fill(mut self, fill: impl FnOnce(&mut StoreCopy) -> Result<Copied, Error>) -> Result<Copied, Error> {
        let file = self.file.try_clone().map_err(|err| Error::file("write", &self.path, err))?;
        let mut copy = StoreCopy::begin(file, self.path.display().to_string()).map_err(Error::Copy)?;
        let copied = fill(&mut copy)?;
        copy.finish().map_err(Error::Copy)?;
        self.whole = true;
        Ok(copied)
    }
}

impl Drop for NewStoreFile {
    fn drop(&mut self) {
        if !self.whole {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
