//! Where a session is kept so that it survives a restart of the program.
//!
//! The session says what has to be durable, and holds back what must not leave before that. The driver
//! hands it to the store in batches: while one is being written, the next one gathers.

use std::error::Error as StdError;
use std::future::Future;

use bytes::Bytes;

#[cfg(feature = "file-store")]
mod file;
mod journal;
mod memory;

#[cfg(feature = "file-store")]
pub use file::FileStore;
pub(crate) use journal::{Batch, Journal, Opened};
pub use memory::MemoryStore;

/// What a store may fail with: any error.
pub type StoreFailure = Box<dyn StdError + Send + Sync>;

/// Names a record; the order of the bytes is of no importance to a store.
pub type RecordKey = [u8; 9];

/// One thing to do with the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keep this record, in place of an earlier one with that key.
    Put {
        /// Its name.
        key: RecordKey,
        /// Its content, of about the size of the message.
        record: Bytes,
    },
    /// Remove the record; there may be none.
    Delete {
        /// Its name.
        key: RecordKey,
    },
}

/// Keeps the records of one session: a map from keys to bytes, whose changes last.
///
/// There is [`MemoryStore`] for tests, and `FileStore` behind the feature `file-store`; implement this for a
/// database that the program has anyway. See [`Client::durable`](crate::Client::durable).
///
/// [`load`](Store::load) is called once, before all else; then [`write`](Store::write), a batch at a time,
/// never before the last one is done. A method that fails is not called again: the client ends with
/// [`StoreError::Failed`](crate::StoreError::Failed). The futures run inside the driver, so what blocks belongs
/// into a thread; the driver goes on with its other work while they wait. If the driver is dropped they
/// are, too, and the store after them.
///
/// A store that is slow holds back what has to be durable first, and then
/// [`publish`](crate::Client::publish) with [`Bounds`](crate::Bounds): memory stays bounded.
///
/// ```
/// use std::collections::HashMap;
/// use bytes::Bytes;
/// use mqtt_async::{Change, RecordKey, Store, StoreFailure};
///
/// /// Forgets everything when the program ends, so it is good for nothing but this example.
/// #[derive(Default)]
/// struct Forgetful(HashMap<RecordKey, Bytes>);
///
/// impl Store for Forgetful {
///     async fn load(&mut self) -> Result<Vec<(RecordKey, Bytes)>, StoreFailure> {
///         Ok(self.0.clone().into_iter().collect())
///     }
///
///     async fn write(&mut self, batch: Vec<Change>) -> Result<(), StoreFailure> {
///         for change in batch {
///             match change {
///                 Change::Put { key, record } => self.0.insert(key, record),
///                 Change::Delete { key } => self.0.remove(&key),
///             };
///         }
///         Ok(()) // A real one waits here until it would survive the loss of power.
///     }
/// }
/// # fn check(store: impl Store) {}
/// # check(Forgetful::default());
/// ```
pub trait Store: Send + 'static {
    /// Reads all records, in any order.
    ///
    /// # Errors
    ///
    /// Any error: the session does not begin.
    fn load(
        &mut self,
    ) -> impl Future<Output = Result<Vec<(RecordKey, Bytes)>, StoreFailure>> + Send;

    /// Makes the changes, in their order, and resolves when they are durable.
    ///
    /// A crash before that may leave all of the batch, none of it, or the first part of it: nothing
    /// that depends on it has left the program.
    ///
    /// # Errors
    ///
    /// Any error: the client ends, because it could not keep what it promises.
    fn write(
        &mut self,
        batch: Vec<Change>,
    ) -> impl Future<Output = Result<(), StoreFailure>> + Send;
}
