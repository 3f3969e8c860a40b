//! One way to start a client and a server on every runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mqtt_async::{Client, Config, Error};

use super::server::Server;

/// A runtime with a transport.
pub trait Env: 'static {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);

    /// Starts a client with its driver in a task, and the server at the other end.
    fn start(&self, config: Config, server: &Server) -> (Client, Task);
}

/// Runs a test in a thread of its own: a hang is a failure.
pub fn guarded(test: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match wait.recv_timeout(Duration::from_secs(60)) {
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
    }
}

#[derive(Default)]
struct Inner {
    result: Option<Result<(), Error>>,
    abort: bool,
    wakers: Vec<Waker>,
}

/// The task that a driver runs in: a future of its result.
#[derive(Clone, Default)]
pub struct Task(Arc<Mutex<Inner>>);

impl Task {
    pub fn new() -> Task {
        Task::default()
    }

    /// Runs the driver; drops it when it is told to.
    pub async fn run(self, driver: impl Future<Output = Result<(), Error>>) {
        let mut driver = Some(Box::pin(driver));
        let task = self.clone();
        let result = std::future::poll_fn(move |cx| {
            if self.poll_inner(cx, |inner| inner.abort.then_some(())).is_ready() {
                driver = None;
            }
            match &mut driver {
                Some(driver) => driver.as_mut().poll(cx).map(Some),
                None => Poll::Ready(None),
            }
        })
        .await;
        task.change(|inner| inner.result = result.or(Some(Ok(()))));
    }

    /// Drops the driver.
    pub fn abort(&self) {
        self.change(|inner| inner.abort = true);
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let wakers = {
            let mut inner = self.0.lock().unwrap();
            change(&mut inner);
            std::mem::take(&mut inner.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll_inner<T>(&self, cx: &Context<'_>, look: impl FnOnce(&Inner) -> Option<T>) -> Poll<T> {
        let mut inner = self.0.lock().unwrap();
        match look(&inner) {
            Some(value) => Poll::Ready(value),
            None => {
                inner.wakers.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Future for Task {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_inner(cx, |inner| inner.result.clone())
    }
}
