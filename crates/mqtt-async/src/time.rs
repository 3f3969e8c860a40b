//! Time for the driver, whatever the runtime; and the clock that commands read.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Waits until a deadline, and tells what time it is.
///
/// The driver asks the *clock* whether a deadline has passed; the timer only sees to it that the driver
/// is polled then. A timer that fires early or late is therefore harmless, and one whose clock stands
/// still, as in a test, stops all deadlines of the client that it drives.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use std::task::{Context, Poll, Waker};
/// use std::time::Instant;
/// use mqtt_async::{Clock, Timer};
///
/// /// A timer for tests: time passes when the test says so.
/// #[derive(Clone)]
/// struct Manual(Arc<Mutex<(Instant, Option<Waker>)>>);
///
/// impl Timer for Manual {
///     fn now(&self) -> Instant {
///         self.0.lock().unwrap().0
///     }
///     fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
///         let mut inner = self.0.lock().unwrap();
///         if inner.0 >= deadline {
///             return Poll::Ready(());
///         }
///         inner.1 = Some(cx.waker().clone());
///         Poll::Pending
///     }
///     fn clock(&self) -> Clock {
///         let timer = self.clone();
///         Clock::new(move || timer.now())
///     }
/// }
/// ```
pub trait Timer: Unpin {
    /// Returns what time it is.
    fn now(&self) -> Instant;

    /// Returns `Ready` if the deadline has passed, else sees to it that the task is woken then.
    ///
    /// There is one deadline at a time: a call replaces what the last call asked for. It may wake too
    /// early.
    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()>;

    /// Returns a handle to the clock that [`now`](Timer::now) reads, for use from other threads.
    ///
    /// The default is the clock of the system. A timer whose `now` reads another one returns that, so
    /// that it rules the Message Expiry Interval of what is published as well.
    fn clock(&self) -> Clock {
        Clock::system()
    }
}

/// Returns a time that much later; past what the clock can count, one that nobody will see.
pub(crate) fn later(now: Instant, by: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now.checked_add(by).or_else(|| now.checked_add(CENTURY)).unwrap_or(now)
}

/// A handle to a clock; cloning it makes another handle to the same one.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn() -> Instant + Send + Sync>>);

impl Clock {
    /// Returns the clock of the system: [`Instant::now`].
    pub const fn system() -> Clock {
        Clock(None)
    }

    /// Returns a clock that asks a function.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Clock {
        Clock(Some(Arc::new(now)))
    }

    /// Returns what time it is.
    pub fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(now) => now(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(custom)" } else { "Clock(system)" })
    }
}

/// The timer of `async-io`, which works under any executor.
///
/// Under the hood: `async-io` starts one thread named `async-io` for the whole process on first use.
#[cfg(feature = "async-io")]
#[derive(Debug, Default)]
pub struct AsyncIoTimer {
    armed: Option<(Instant, async_io::Timer)>,
}

#[cfg(feature = "async-io")]
impl AsyncIoTimer {
    /// Returns a timer that waits for nothing yet.
    pub const fn new() -> AsyncIoTimer {
        AsyncIoTimer { armed: None }
    }
}

#[cfg(feature = "async-io")]
impl Timer for AsyncIoTimer {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        use std::future::Future;
        use std::pin::Pin;

        loop {
            if self.now() >= deadline {
                return Poll::Ready(());
            }
            // Deadlines mostly move away with every packet. A timer that is set too early is left as it
            // is: one needless wake-up now and then is cheaper than to set it anew each time.
            let timer = match &mut self.armed {
                Some((at, timer)) if *at <= deadline => timer,
                slot => &mut slot.insert((deadline, async_io::Timer::at(deadline))).1,
            };
            match Pin::new(timer).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(_) => self.armed = None,
            }
        }
    }
}
