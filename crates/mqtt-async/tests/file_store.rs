//! The store in a file: it lasts, it can be opened again at once, and it says what is wrong with a file.
#![cfg(all(feature = "async-io", feature = "file-store"))]

mod common;

use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::thread;

use async_executor::Executor;
use bytes::Bytes;
use common::bench::lasting;
use common::pipe::{Pipe, Shape, pipe};
use common::runtime::guarded;
use common::server::{Seen, Server};
use futures_lite::future::block_on;
use mqtt_async::{
    AsyncIoTimer, Change, Client, Connector, Driver, FileStore, Progress, QoS, RecordKey,
    Recovered, Store, StoreFailure, Version,
};

/// A directory of the test's own, removed with all that is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mqtt-async-file-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("session.redb")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const KEY: RecordKey = *b"\x01 a key..";
const OTHER: RecordKey = *b"\x00another.";

fn put(key: RecordKey, record: &'static [u8]) -> Change {
    Change::Put { key, record: Bytes::from_static(record) }
}

fn load(path: &Path) -> Result<Vec<(RecordKey, Bytes)>, StoreFailure> {
    block_on(FileStore::new(path).load())
}

#[test]
fn changes_last_and_are_made_in_their_order() {
    let directory = Directory::new();
    let mut store = FileStore::new(directory.file());
    block_on(async {
        assert!(store.load().await.unwrap().is_empty());
        store.write(vec![put(KEY, b"1"), put(OTHER, b"2"), put(KEY, b"3")]).await.unwrap();
        store.write(vec![put(OTHER, b"4"), Change::Delete { key: OTHER }]).await.unwrap();
        store.write(vec![Change::Delete { key: OTHER }]).await.unwrap();
    });
    // The file is open again as soon as the first store has let it go.
    drop(store);
    assert_eq!(load(&directory.file()).unwrap(), [(KEY, Bytes::from_static(b"3"))]);
}

#[test]
fn a_batch_that_nobody_waits_for_any_more_is_still_whole() {
    let directory = Directory::new();
    let large = vec![put(KEY, &[7; 1_000_000]), put(OTHER, b"x")];
    let mut store = FileStore::new(directory.file());
    block_on(store.load()).unwrap();
    {
        let mut write = std::pin::pin!(store.write(large));
        let _ = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    drop(store);
    assert_eq!(load(&directory.file()).unwrap().len(), 2);
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_name() {
    let directory = Directory::new();
    let missing = directory.0.join("missing").join("session.redb");
    let garbage = directory.0.join("garbage");
    fs::write(&garbage, [b'x'; 5000]).unwrap();
    for path in [&missing, &garbage, &directory.0] {
        let error = load(path).unwrap_err();
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        assert!(error.source().is_some());
    }
    let error = block_on(FileStore::new(directory.file()).write(vec![put(KEY, b"")])).unwrap_err();
    assert!(error.to_string().contains("never loaded"), "{error}");
    assert!(!directory.file().exists());
}

/// Connects to the server; each connection is served in a thread of its own.
#[derive(Clone)]
struct Dial(Server);

impl Connector for Dial {
    type Io = Pipe;
    type Connecting = std::future::Ready<io::Result<Pipe>>;

    fn connect(&mut self, _: &Progress) -> Self::Connecting {
        let (ours, theirs) = pipe(Shape::default());
        let connection = self.0.serve(theirs);
        thread::spawn(move || block_on(connection));
        std::future::ready(Ok(ours))
    }
}

/// Ends the task that the driver runs in, as a crash would.
type Crash = Box<dyn FnOnce()>;

/// Starts a client from the file; `spawn` runs the driver.
async fn start(
    server: &Server,
    path: &Path,
    spawn: impl Fn(Driver<Dial, AsyncIoTimer>) -> Crash,
) -> (Client, Crash, Vec<Recovered>) {
    let store = FileStore::new(path);
    let connector = Dial(server.clone());
    let made = Client::durable(lasting(Version::V5), connector, store).await;
    let (client, driver, recovered) = made.unwrap();
    (client, spawn(driver), recovered)
}

async fn restarts(spawn: impl Fn(Driver<Dial, AsyncIoTimer>) -> Crash) {
    let directory = Directory::new();
    let server = Server::new();
    server.script(|script| script.hold_acks = true);
    let (client, crash, recovered) = start(&server, &directory.file(), &spawn).await;
    assert!(recovered.is_empty());
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        drop(client.publish("up", "x", qos).unwrap());
    }
    client.stored().unwrap().await.unwrap();
    server.wait(2, |seen| matches!(seen, Seen::Publish { dup: false, .. })).await;
    crash();
    drop(client);

    server.script(|script| script.hold_acks = false);
    let (client, crash, recovered) = start(&server, &directory.file(), &spawn).await;
    assert_eq!(recovered.len(), 2);
    for message in recovered {
        assert_eq!(message.message.unwrap().payload, Bytes::from_static(b"x"));
        message.publishing.await.unwrap();
    }
    let two = |seen: &Seen| matches!(seen, Seen::Publish { qos: QoS::ExactlyOnce, .. });
    assert_eq!(server.count(two), 1, "the server has it already");
    client.disconnect().await.unwrap();
    crash();

    let (_client, crash, recovered) = start(&server, &directory.file(), &spawn).await;
    assert!(recovered.is_empty());
    crash();
}

#[test]
fn a_session_survives_restarts_on_any_executor() {
    guarded(|| {
        let executor = Arc::new(Executor::new());
        let spawn = |driver| -> Crash {
            let task = executor.spawn(driver);
            Box::new(move || drop(task))
        };
        block_on(executor.run(restarts(spawn)));
    });
    guarded(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let spawn = |driver| -> Crash {
            let task = tokio::spawn(driver);
            Box::new(move || task.abort())
        };
        runtime.block_on(restarts(spawn));
    });
}
