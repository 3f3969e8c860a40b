//! A store that lasts as long as the program.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Change, RecordKey, Store, StoreFailure};

/// Keeps records in memory: for tests of what happens when a client is started again. Clones are one and
/// the same store, and outlive the client.
///
/// ```
/// # async fn example(config: mqtt_async::Config, connector: impl mqtt_async::Connector + Clone)
/// # -> Result<(), mqtt_async::StoreError> {
/// # #[cfg(feature = "async-io")] {
/// use mqtt_async::{Client, MemoryStore};
///
/// let store = MemoryStore::new();
/// let first = Client::durable(config.clone(), connector.clone(), store.clone()).await?;
/// drop(first);
/// let (client, driver, recovered) = Client::durable(config, connector, store).await?;
/// # }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<BTreeMap<RecordKey, Bytes>>>);

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Returns all records, in the order of their keys.
    pub fn records(&self) -> Vec<(RecordKey, Bytes)> {
        self.lock().iter().map(|(key, record)| (*key, record.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RecordKey, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    async fn load(&mut self) -> Result<Vec<(RecordKey, Bytes)>, StoreFailure> {
        Ok(self.records())
    }

    async fn write(&mut self, batch: Vec<Change>) -> Result<(), StoreFailure> {
        let mut records = self.lock();
        for change in batch {
            match change {
                Change::Put { key, record } => records.insert(key, record),
                Change::Delete { key } => records.remove(&key),
            };
        }
        Ok(())
    }
}
