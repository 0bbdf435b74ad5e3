//! Records in the memory of this process, which forgets them at its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::record::Record;
use super::{Claim, Place, RecordsError, Written};

/// The records of a process. Clones are handles of the same.
#[derive(Clone, Default)]
pub(super) struct Memory {
    records: Arc<Mutex<BTreeMap<String, Record>>>,
    /// Held while a launch is begun.
    claim: Arc<tokio::sync::Mutex<()>>,
}

impl Memory {
    fn records(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place for Memory {
    fn check(&self) -> Result<(), RecordsError> {
        Ok(())
    }

    fn all(&self) -> Result<Vec<Record>, RecordsError> {
        Ok(self.records().values().cloned().collect())
    }

    fn of_stack(&self, stack_name: &str) -> Result<Option<Record>, RecordsError> {
        Ok(self.records().get(stack_name).cloned())
    }

    fn write(&self, record: &Record, is_new: bool, _claim: Option<&Claim>) -> Result<Written, RecordsError> {
        let mut records = self.records();
        Ok(match record.over(records.get(&record.stack_name), is_new) {
            Ok(written) => {
                let revision = written.revision;
                records.insert(written.stack_name.clone(), written);
                Written::Done(revision)
            }
            Err(refused) => refused,
        })
    }

    fn remove(&self, stack_name: &str) -> Result<(), RecordsError> {
        self.records().remove(stack_name);
        Ok(())
    }

    fn claim(&self, _name: &str) -> Result<Claim, RecordsError> {
        Ok(Claim::of_memory(Arc::clone(&self.claim).blocking_lock_owned()))
    }
}
