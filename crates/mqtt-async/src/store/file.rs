//! A store in a file.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use std::{fmt, thread};

use bytes::Bytes;
use redb::{Database, DatabaseError, Durability, ReadableTable, TableDefinition, TableError};

use super::{Change, RecordKey, Store, StoreFailure};
use crate::answer::{Giver, answer};

/// The only table of the file.
const TABLE: TableDefinition<'static, &[u8; 9], &[u8]> = TableDefinition::new("session");

/// What of the file is kept in memory: a session is read once, and then only written.
const CACHE: usize = 1024 * 1024;

/// How long to wait for a file that is in use, and how long between two looks at it.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Keeps the records of a session in a file of its own, a database of the crate `redb`.
///
/// A batch is one transaction, and is synced to the disk (`fsync` or what the system has for it) before
/// anything that depends on it leaves: it survives the loss of power as far as the disk does not lie
/// about that. A crash leaves all of a batch or nothing. The directory has to be there; the file is made when
/// there is none. It grows to what was needed at the most, and begins with about 1 MiB. Whoever can read
/// it can read the messages.
///
/// Under the hood: a thread named `mqtt-store`, one for each store from its [`load`](Store::load) on,
/// does what blocks, so that this works under any executor. Dropping the store does not wait for it: it
/// finishes what it was given, closes the file and ends. [`load`](Store::load) waits up to 5 s for a file that
/// is still in use, by a thread like that or by another process.
///
/// ```no_run
/// # #[cfg(feature = "async-io")]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mqtt_async::{Client, Config, FileStore, Tcp, Version};
///
/// let mut config = Config::new(Version::V5).client_id("sensor-7")?;
/// config.session.connect.session_expiry_interval = Some(7 * 24 * 3600);
/// let store = FileStore::new("/var/lib/sensor/session.redb");
/// let connector = Tcp::new("localhost", 1883);
/// let (client, driver, recovered) = Client::durable(config, connector, store).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    patience: Duration,
    /// To the thread, once it runs.
    jobs: Option<Sender<Job>>,
}

type Records = Vec<(RecordKey, Bytes)>;
type Job = (Vec<Change>, Giver<Result<(), StoreFailure>>);

impl FileStore {
    /// Returns a store in that file; nothing happens before it is loaded.
    pub fn new(path: impl Into<PathBuf>) -> FileStore {
        FileStore { path: path.into(), patience: PATIENCE, jobs: None }
    }
}

impl Store for FileStore {
    async fn load(&mut self) -> Result<Records, StoreFailure> {
        let (giver, loaded) = answer();
        let (jobs, work) = channel();
        let (path, patience) = (self.path.clone(), self.patience);
        let serve = move || serve(&path, patience, giver, work);
        thread::Builder::new().name("mqtt-store".into()).spawn(serve)?;
        self.jobs = Some(jobs);
        loaded.await.unwrap_or_else(|| Err(GONE.into()))
    }

    async fn write(&mut self, batch: Vec<Change>) -> Result<(), StoreFailure> {
        let (giver, written) = answer();
        let jobs = self.jobs.as_ref().ok_or("the store was never loaded")?;
        jobs.send((batch, giver)).map_err(|_| GONE)?;
        written.await.unwrap_or_else(|| Err(GONE.into()))
    }
}

const GONE: &str = "the thread of the store has ended";

/// Serves a store until it is dropped.
fn serve(
    path: &Path,
    patience: Duration,
    loaded: Giver<Result<Records, StoreFailure>>,
    jobs: Receiver<Job>,
) {
    let here = |error| -> StoreFailure { FileError { path: path.to_path_buf(), error }.into() };
    let opened = open(path, patience).and_then(|database| Ok((read(&database)?, database)));
    let database = match opened {
        Ok((records, database)) => {
            loaded.give(Ok(records));
            database
        }
        Err(error) => return loaded.give(Err(here(error))),
    };
    for (batch, written) in jobs {
        written.give(write(&database, batch).map_err(here));
    }
}

fn open(path: &Path, patience: Duration) -> Result<Database, StoreFailure> {
    let mut waited = Duration::ZERO;
    let database = loop {
        // The format of the file is one that later versions of the crate read as well.
        let made =
            Database::builder().set_cache_size(CACHE).create_with_file_format_v3(true).create(path);
        match made {
            Err(DatabaseError::DatabaseAlreadyOpen) if waited < patience => {
                thread::sleep(LOOK_EVERY);
                waited += LOOK_EVERY;
            }
            made => break made?,
        }
    };
    sync_directory(path)?;
    Ok(database)
}

/// A file that was just made is not there after a loss of power unless its directory is synced as well.
#[cfg(unix)]
fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn read(database: &Database) -> Result<Records, StoreFailure> {
    let table = match database.begin_read()?.open_table(TABLE) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Records::new()),
        Err(error) => return Err(error.into()),
    };
    let mut records = Records::new();
    for entry in table.iter()? {
        let (key, record) = entry?;
        records.push((*key.value(), Bytes::copy_from_slice(record.value())));
    }
    Ok(records)
}

fn write(database: &Database, batch: Vec<Change>) -> Result<(), StoreFailure> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate);
    {
        let mut table = transaction.open_table(TABLE)?;
        for change in batch {
            match change {
                Change::Put { key, record } => table.insert(&key, &*record)?,
                Change::Delete { key } => table.remove(&key)?,
            };
        }
    }
    Ok(transaction.commit()?)
}

/// What went wrong, and with which file.
#[derive(Debug)]
struct FileError {
    path: PathBuf,
    error: StoreFailure,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl StdError for FileError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.error)
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn a_file_that_stays_in_use_is_refused() {
        let name = format!("mqtt-async-in-use-{}.redb", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut first = FileStore::new(&path);
        block_on(first.load()).unwrap();
        let mut second = FileStore { patience: LOOK_EVERY, ..FileStore::new(&path) };
        let error = block_on(second.load()).unwrap_err();
        let source = error.source().and_then(|source| source.downcast_ref::<DatabaseError>());
        assert!(matches!(source, Some(DatabaseError::DatabaseAlreadyOpen)), "{error}");
        // It closes the file in its own time.
        drop(first);
        block_on(FileStore::new(&path).load()).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
