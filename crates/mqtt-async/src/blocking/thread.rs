//! The thread that runs the driver, and waiting without an executor.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::shared::{Close, Shared};

/// The name of the thread; systems cut longer ones off.
const NAME: &str = "mqtt-driver";

/// Polls a future in this thread until it is done.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        // Without a deadline, it is always done.
        if let Some(output) = block(future.as_mut(), None) {
            return output;
        }
    }
}

/// Polls a future in this thread until it is done or the time is up; the future can be polled again.
pub(super) fn block_until<F: Future + Unpin>(
    future: &mut F,
    deadline: Option<Instant>,
) -> Option<F::Output> {
    block(Pin::new(future), deadline)
}

fn block<F: Future>(mut future: Pin<&mut F>, deadline: Option<Instant>) -> Option<F::Output> {
    // One for each call: a future that waits inside of another one takes no alarm away from it.
    let alarm = Arc::new(Alarm { thread: thread::current(), rung: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&alarm));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        while !alarm.rung.swap(false, Ordering::Acquire) {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(Duration::ZERO) => return None,
                Some(left) => thread::park_timeout(left),
            }
        }
    }
}

/// Wakes a thread; parking alone will not do, because anybody may unpark it.
struct Alarm {
    thread: Thread,
    rung: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// The thread of a driver. All that keeps the client shares it, and the last one waits for its end.
#[derive(Debug)]
pub(super) struct DriverThread {
    shared: Arc<Shared>,
    running: Arc<Running>,
    handle: Option<JoinHandle<()>>,
    /// How long the last one waits.
    patience: Duration,
}

#[derive(Debug)]
struct Running {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DriverThread {
    pub(super) fn spawn<T>(
        shared: Arc<Shared>,
        patience: Duration,
        driver: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<DriverThread> {
        let running = Arc::new(Running { ended: Mutex::new(false), changed: Condvar::new() });
        let ends = End(Arc::clone(&running));
        let run = move || {
            // Said when the driver is gone, also if something in it panics.
            let _ends = ends;
            block_on(driver);
        };
        let handle = thread::Builder::new().name(NAME.into()).spawn(run)?;
        Ok(DriverThread { shared, running, handle: Some(handle), patience })
    }

    /// Waits until the thread has ended.
    pub(super) fn wait(&self) {
        let running = &self.running;
        let ended = running.changed.wait_while(running.lock(), |ended| !*ended);
        drop(ended.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for DriverThread {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take() else { return };
        // A hook of the driver may have had the last one: nobody waits for oneself. And with a handle of the
        // async client, the client goes on.
        if handle.thread().id() == thread::current().id() || self.shared.has_handles() {
            return;
        }
        let running = &self.running;
        let waited = running.changed.wait_timeout_while(running.lock(), self.patience, |it| !*it);
        let ended = *waited.unwrap_or_else(PoisonError::into_inner).0;
        if ended {
            // If something in it has panicked, the tokens have said so.
            let _ = handle.join();
        } else {
            self.shared.command(|state| state.close = Close::Abort);
        }
    }
}

/// Tells, when it is dropped, that the thread ends.
struct End(Arc<Running>);

impl Drop for End {
    fn drop(&mut self) {
        *self.0.lock() = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_future_that_waits_inside_of_another_one_takes_no_alarm_away() {
        let (send, take) = mpsc::channel::<Waker>();
        let other = thread::spawn(move || {
            let wakers: Vec<Waker> = take.iter().take(2).collect();
            // The outer one first, while the inner one waits.
            wakers.iter().for_each(Waker::wake_by_ref);
        });
        let mut polls = 0;
        block_on(poll_fn(|cx| {
            polls += 1;
            if polls == 2 {
                return Poll::Ready(());
            }
            send.send(cx.waker().clone()).unwrap();
            let mut inner = 0;
            block_on(poll_fn(|cx| {
                inner += 1;
                if inner == 2 {
                    return Poll::Ready(());
                }
                send.send(cx.waker().clone()).unwrap();
                Poll::Pending
            }));
            Poll::Pending
        }));
        other.join().unwrap();
        assert_eq!(polls, 2);
    }

    #[test]
    fn who_unparks_the_thread_does_not_make_it_poll() {
        let mut polls = 0;
        thread::current().unpark();
        let deadline = Instant::now() + Duration::from_millis(20);
        let mut future = poll_fn(|_| {
            polls += 1;
            Poll::<()>::Pending
        });
        assert_eq!(block_until(&mut future, Some(deadline)), None);
        assert!(Instant::now() >= deadline);
        assert_eq!(polls, 1);
    }
}
