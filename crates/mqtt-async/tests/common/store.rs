//! A store that is slow or fails when the test says so.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use bytes::Bytes;
use mqtt_async::{Change, MemoryStore, RecordKey, Store, StoreFailure};

#[derive(Debug, Default)]
pub struct Script {
    /// Finish no write before this is false.
    pub held: bool,
    /// Fail instead of reading or writing.
    pub failure: Option<&'static str>,
    /// The batches that were begun.
    pub batches: Vec<Vec<Change>>,
    writing: bool,
    waker: Option<Waker>,
}

/// Clones are one and the same; what was written lasts.
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    pub memory: MemoryStore,
    script: Arc<Mutex<Script>>,
}

impl Scripted {
    pub fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        let (result, waker) = {
            let mut script = self.script.lock().unwrap();
            (change(&mut script), script.waker.take())
        };
        waker.into_iter().for_each(Waker::wake);
        result
    }

    pub fn held() -> Scripted {
        let store = Scripted::default();
        store.script(|script| script.held = true);
        store
    }
}

/// Notes that a write is over, also one that is dropped.
struct Over(Arc<Mutex<Script>>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.lock().unwrap().writing = false;
    }
}

impl Store for Scripted {
    async fn load(&mut self) -> Result<Vec<(RecordKey, Bytes)>, StoreFailure> {
        match self.script(|script| script.failure) {
            Some(failure) => Err(failure.into()),
            None => self.memory.load().await,
        }
    }

    async fn write(&mut self, batch: Vec<Change>) -> Result<(), StoreFailure> {
        self.script(|script| {
            assert!(!script.writing, "one batch at a time");
            assert!(!batch.is_empty());
            script.writing = true;
            script.batches.push(batch.clone());
        });
        let _over = Over(Arc::clone(&self.script));
        poll_fn(|cx| {
            let mut script = self.script.lock().unwrap();
            if !script.held {
                return Poll::Ready(());
            }
            script.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        match self.script(|script| script.failure) {
            Some(failure) => Err(failure.into()),
            None => self.memory.write(batch).await,
        }
    }
}
