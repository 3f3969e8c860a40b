//! The session's way into its store: how it is opened, and one batch at a time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use mqtt_proto::{Connect, SessionState, StoreKey, StoreOp, StoreSeq, Text, Version};

use super::{Change, RecordKey, Store, StoreFailure};
use crate::config::Config;
use crate::error::StoreError;

/// The record that says whose session it is; the session itself has keys that begin with 0 and 1.
const IDENTITY: RecordKey = [0xFF, 0, 0, 0, 0, 0, 0, 0, 0];

/// The first byte of that record: how the records are written.
const FORMAT: u8 = 1;

/// The second byte, before the Client Identifier: whether a server has ever accepted a connection.
const NEVER_CONNECTED: u8 = 0;
const CONNECTED: u8 = 1;

/// How many changes a batch has at most: enough for one sync to count for nothing, and few enough not to
/// hold the lock for long while they are gathered.
const BATCH: usize = 1024;

/// A store in use.
pub(crate) struct Journal {
    /// Absent while it writes, and after it has failed.
    store: Option<Box<dyn Writer>>,
    writing: Option<Writing>,
    /// What is durable when the batch that is being written is.
    upto: StoreSeq,
    client_id: Text,
    /// Whether the store has it that a server has accepted a connection.
    began: Began,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Began {
    No,
    /// A server has accepted one, and the next batch says so.
    Now,
    Writing,
    Yes,
}

type Writing = Pin<Box<dyn Future<Output = (Box<dyn Writer>, Result<(), StoreFailure>)> + Send>>;

/// Any store, which is moved into its write and comes back with the result.
trait Writer: Send {
    fn write(self: Box<Self>, batch: Vec<Change>) -> Writing;
}

impl<S: Store> Writer for S {
    fn write(mut self: Box<Self>, batch: Vec<Change>) -> Writing {
        Box::pin(async move {
            let result = Store::write(&mut *self, batch).await;
            (self as Box<dyn Writer>, result)
        })
    }
}

/// What a store had in it.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) state: SessionState,
}

impl Journal {
    /// Reads a store, and makes the configuration go on with what is in it.
    pub(crate) async fn open<S: Store>(
        config: &mut Config,
        mut store: S,
    ) -> Result<Opened, StoreError> {
        let connect = &mut config.session.connect;
        let client_id = connect.client_id.clone();
        check(config.session.version, connect)?;
        if config.fall_back_to_v311 {
            check(Version::V311, connect)?;
        }
        let mut records = store.load().await.map_err(failed)?;
        let identity = records.iter().position(|(key, _)| *key == IDENTITY);
        let mut began = Began::No;
        let state = if let Some(at) = identity {
            let (_, identity) = records.swap_remove(at);
            if read_identity(&identity, &client_id)? {
                began = Began::Yes;
                // The server has a session, or had: it is not to forget it.
                connect.clean_start = false;
                read(records)?
            } else {
                read(records)?.never_connected()
            }
        } else if records.is_empty() {
            let change = identify(&client_id, NEVER_CONNECTED);
            store.write(vec![change]).await.map_err(failed)?;
            SessionState::default()
        } else {
            return Err(StoreError::Unknown);
        };
        config.session.journal = true;
        let store: Option<Box<dyn Writer>> = Some(Box::new(store));
        let upto = StoreSeq::default();
        let journal = Journal { store, writing: None, upto, client_id, began };
        Ok(Opened { journal, state })
    }

    /// Checks what a connection is about to be made with.
    pub(crate) fn check(&self, version: Version, connect: &Connect) -> Result<(), StoreError> {
        check(version, connect)?;
        if connect.client_id != self.client_id {
            return Err(StoreError::OtherClient {
                stored: self.client_id.as_str().to_owned(),
                configured: connect.client_id.as_str().to_owned(),
            });
        }
        match connect.clean_start && self.began == Began::Yes {
            true => Err(StoreError::CleanStart),
            false => Ok(()),
        }
    }

    /// A server has accepted a connection. Tells whether anything else may leave on it: not before the
    /// store has it that there was one, because until then no message counts as sent after a restart.
    pub(crate) fn connected(&mut self) -> bool {
        if self.began == Began::No {
            self.began = Began::Now;
        }
        self.began == Began::Yes
    }

    /// Waits for the batch that is being written; returns what is durable then. `Pending` stands for no
    /// batch, too.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<StoreSeq, StoreError>> {
        let Some(writing) = &mut self.writing else { return Poll::Pending };
        let (store, result) = ready!(writing.as_mut().poll(cx));
        self.writing = None;
        result.map_err(failed)?;
        self.store = Some(store);
        if self.began == Began::Writing {
            self.began = Began::Yes;
        }
        Poll::Ready(Ok(self.upto))
    }

    /// Tells whether another batch can be written.
    pub(crate) fn is_ready(&self) -> bool {
        self.store.is_some()
    }

    /// Begins to write a batch, if there is something in it.
    pub(crate) fn write(&mut self, batch: Batch) {
        let Batch { mut changes, upto } = batch;
        if self.began == Began::Now {
            changes.push(identify(&self.client_id, CONNECTED));
        }
        if changes.is_empty() {
            return;
        }
        if let Some(store) = self.store.take() {
            if self.began == Began::Now {
                self.began = Began::Writing;
            }
            self.upto = self.upto.max(upto);
            self.writing = Some(store.write(changes));
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("writing", &self.writing.is_some()).finish_non_exhaustive()
    }
}

/// What the session wants to be written at once.
#[derive(Debug)]
pub(crate) struct Batch {
    changes: Vec<Change>,
    upto: StoreSeq,
}

impl Batch {
    /// Gathers what there is, up to a bound.
    pub(crate) fn gather(mut next: impl FnMut() -> Option<StoreOp>) -> Batch {
        let mut changes = Vec::new();
        let mut upto = StoreSeq::default();
        while changes.len() < BATCH
            && let Some(op) = next()
        {
            let (seq, change) = match op {
                StoreOp::Put { seq, key, record } => {
                    (seq, Change::Put { key: key.to_bytes(), record })
                }
                StoreOp::Delete { seq, key } => (seq, Change::Delete { key: key.to_bytes() }),
            };
            upto = seq;
            changes.push(change);
        }
        Batch { changes, upto }
    }
}

fn failed(error: StoreFailure) -> StoreError {
    StoreError::Failed(error.into())
}

/// Checks that the server keeps the session over connections, and finds it again.
fn check(version: Version, connect: &Connect) -> Result<(), StoreError> {
    if connect.client_id.is_empty() {
        Err(StoreError::NoClientId)
    } else if version.is_v5() && connect.session_expiry_interval.unwrap_or(0) == 0 {
        Err(StoreError::NoSessionExpiry)
    } else if !version.is_v5() && connect.clean_start {
        Err(StoreError::CleanStart)
    } else {
        Ok(())
    }
}

fn identify(client_id: &Text, connected: u8) -> Change {
    let record = [&[FORMAT, connected], client_id.as_str().as_bytes()].concat().into();
    Change::Put { key: IDENTITY, record }
}

/// Tells whether a server has ever accepted a connection, if the record is that of this client.
fn read_identity(record: &[u8], client_id: &Text) -> Result<bool, StoreError> {
    let [FORMAT, connected @ (NEVER_CONNECTED | CONNECTED), stored @ ..] = record else {
        return Err(StoreError::Unknown);
    };
    if stored != client_id.as_str().as_bytes() {
        return Err(StoreError::OtherClient {
            stored: String::from_utf8_lossy(stored).into_owned(),
            configured: client_id.as_str().to_owned(),
        });
    }
    Ok(*connected == CONNECTED)
}

fn read(records: Vec<(RecordKey, Bytes)>) -> Result<SessionState, StoreError> {
    let keyed: Option<Vec<_>> = records
        .into_iter()
        .map(|(key, record)| Some((StoreKey::from_bytes(key)?, record)))
        .collect();
    SessionState::from_records(keyed.ok_or(StoreError::Unknown)?).map_err(StoreError::Record)
}
