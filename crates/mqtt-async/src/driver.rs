//! The driver: the future that does the work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use std::{fmt, mem};

use mqtt_proto::{Publish, ReasonCode};

use crate::config::Limits;
use crate::connect::Connector;
use crate::error::{Error, TokenError};
use crate::hooks::Hooks;
use crate::random::Random;
use crate::redirect::Route;
use crate::shared::{Close, End, News, Shared};
use crate::status::{Event, Phase};
use crate::store::Journal;
use crate::time::{Timer, later};
use crate::trace::{Told, Trace};

mod attempt;
mod dialogue;
mod ending;
mod redirects;
mod running;
mod storing;

use attempt::{Dialing, Preparing};
use dialogue::Dialogue;
use ending::Ending;
use running::Running;

/// How many rounds one poll makes before it lets others run.
const ROUNDS: usize = 16;

/// Does the work of a client: connects, writes, reads, keeps alive, connects again.
///
/// It has to be polled for anything to happen: spawn it in a task, or join it with what the application
/// does. It is `Send` if its connector, transport and timer are. It ends with `Ok(())` after
/// [`Client::disconnect`](crate::Client::disconnect), [`drain`](crate::Client::drain),
/// [`shutdown`](crate::Client::shutdown) and [`abort`](crate::Client::abort), or when all handles and streams are dropped, and with an error when there is no point in trying on: see
/// [`Error::is_retryable`] and [`Config::reconnect`](crate::Config::reconnect).
///
/// It is not cancel-safe: dropping it closes the transport at once, without DISCONNECT, so that the server
/// publishes the Will; all tokens then resolve to [`TokenError::DriverGone`](crate::TokenError::DriverGone).
#[must_use = "the driver does nothing unless it is polled: spawn it"]
pub struct Driver<C: Connector, T> {
    shared: Arc<Shared>,
    connector: C,
    timer: T,
    limits: Limits,
    hooks: Hooks,
    /// The store, if the session is durable.
    journal: Option<Box<Journal>>,
    stage: Stage<C>,
    /// The number of the last attempt to connect again, as the backoff counts.
    attempt: Option<u32>,
    random: Random,
    /// Where redirects have led.
    route: Route,
    /// The authentication that the next connection begins with.
    dialogue: Option<Box<Dialogue>>,
    /// Whom to wake behind the lock; kept for its capacity.
    woken: Vec<Waker>,
    /// When to look at the state again, for its own reasons.
    look_by: Option<Instant>,
    /// What to tell behind the lock.
    news: News,
    /// What to drop there; kept for its capacity.
    spent: Vec<Publish>,
    trace: Trace,
    result: Option<Result<(), Error>>,
}

enum Stage<C: Connector> {
    /// To connect, at once or later.
    Waiting(Option<Instant>),
    /// The hook of the application is at it, or the authenticator.
    Preparing(Preparing, Instant),
    Connecting(Dialing<C>),
    Running(Running<C::Io>),
    Ending(Ending<C::Io>),
    /// All is over but for what is to be stored.
    Storing(End),
    Ended,
}

/// What a round of the driver says.
enum Flow {
    /// There may be more to do.
    Again,
    /// There may be more to do, once others have run.
    Yield,
    /// Nothing to do until a waker is called.
    Sleep,
    /// Nothing to do until then, or until a waker is called.
    SleepUntil(Instant),
}

// Nothing of it is ever pinned: futures are boxed, and transports are `Unpin`.
impl<C: Connector, T> Unpin for Driver<C, T> {}

impl<C: Connector, T: Timer> Driver<C, T> {
    pub(crate) fn new(shared: Arc<Shared>, connector: C, timer: T, limits: Limits) -> Driver<C, T> {
        let client_id = shared.lock().session.config().connect.client_id.clone();
        let trace = Trace::new(client_id.as_str());
        Driver {
            shared,
            connector,
            timer,
            route: Route::new(limits.redirects.clone()),
            limits,
            hooks: Hooks::default(),
            journal: None,
            stage: Stage::Waiting(None),
            attempt: None,
            dialogue: None,
            random: Random::new(),
            woken: Vec::new(),
            look_by: None,
            news: News::default(),
            spent: Vec::new(),
            trace,
            result: None,
        }
    }

    /// Returns how long each part of the end of a connection may take.
    pub(crate) fn close_timeout(&self) -> Duration {
        self.limits.close_timeout
    }

    fn rounds(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Stage::Running(running) = &mut self.stage {
            running.begin();
        }
        for _ in 0..ROUNDS {
            if let Some(result) = &self.result {
                return Poll::Ready(result.clone());
            }
            let flow = self.round(cx);
            if self.store(cx) {
                continue;
            }
            let deadline = match flow {
                Flow::Again => continue,
                Flow::Yield => break,
                Flow::Sleep => self.look_by,
                Flow::SleepUntil(deadline) => self.look_by.into_iter().chain([deadline]).min(),
            };
            let sleeps = deadline.is_none_or(|at| self.timer.poll_until(at, cx).is_pending());
            if sleeps && self.shared.sleep(cx.waker().clone()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn round(&mut self, cx: &mut Context<'_>) -> Flow {
        match mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Waiting(until) => self.wait(until),
            Stage::Preparing(preparing, deadline) => self.prepare(preparing, deadline, cx),
            Stage::Connecting(dialing) => self.connect(dialing, cx),
            Stage::Running(running) => self.run(running, cx),
            Stage::Ending(ending) => self.finish(ending, cx),
            Stage::Storing(end) => self.finish_storing(end),
            Stage::Ended => Flow::Sleep,
        }
    }

    /// Waits for its time to connect.
    fn wait(&mut self, until: Option<Instant>) -> Flow {
        let (close, busy) = {
            let now = self.timer.now();
            let mut state = self.shared.lock();
            self.look_by = state.look(now, &mut self.woken);
            if state.close == Close::No || until.is_some() {
                state.set_phase(if until.is_some() { Phase::Waiting } else { Phase::Connecting });
            }
            (state.close, state.is_busy())
        };
        self.tell();
        // What is queued is worth one attempt, but no waiting; to drain is to wait.
        let over = match close {
            Close::No => false,
            Close::WhenIdle => !busy,
            Close::Now => !busy || until.is_some(),
            Close::Late | Close::Abort => true,
        };
        if over {
            return self.end(End::Closed);
        }
        match until {
            Some(until) if self.timer.now() < until => {
                self.stage = Stage::Waiting(Some(until));
                Flow::SleepUntil(until)
            }
            _ => self.begin(),
        }
    }

    /// The connection is gone, or could not be made: ends, or goes on later.
    ///
    /// `since` tells when the server accepted the connection.
    fn lost(&mut self, error: Error, since: Option<Instant>) -> Flow {
        let now = self.timer.now();
        let stood = since.map(|since| now.saturating_duration_since(since));
        self.reauthenticated(Err(TokenError::Reauthentication(error.clone())));
        let falls_back = self.falls_back(&error);
        let followed = self.follow(&error, stood);
        // A server that sends away all its clients in one moment does so with DISCONNECT.
        let at_once = falls_back || (since.is_none() && matches!(followed, Ok(Some(_))));
        let backoff = self.limits.reconnect.filter(|_| !at_once);
        let delay = backoff.and_then(|backoff| {
            let attempt = self.attempt.map_or(0, |last| backoff.next_attempt(last, stood));
            self.attempt = Some(attempt);
            backoff.delay(attempt, self.random.next())
        });
        let (close, failed) = {
            let mut state = self.shared.lock();
            state.failed_attempts = match since {
                Some(_) => 0,
                None => state.failed_attempts.saturating_add(1),
            };
            state.counts.losses.count(&error);
            (state.close, state.failed_attempts)
        };
        let (error, servers) = match followed {
            Ok(servers) => (error, servers),
            Err(refused) => (Error::Redirect(Box::new(refused)), None),
        };
        let retry_in = match delay {
            _ if close >= Close::Now => None,
            _ if at_once => Some(Duration::ZERO),
            delay if servers.is_some() => delay,
            delay => delay.filter(|_| self.is_worth_a_retry(&error, failed)),
        };
        let before = {
            let mut state = self.shared.lock();
            state.log.change();
            state.log.push(|| match (error.clone(), since) {
                (error, Some(_)) => Event::Disconnected { error, retry_in },
                (error, None) => Event::AttemptFailed { error, failed, retry_in },
            });
            if let (Some(servers), Some(_)) = (servers, retry_in) {
                let permanent = error.reason() == Some(ReasonCode::SERVER_MOVED);
                state.log.push(|| Event::Redirected { servers, permanent });
            }
            state.last_error.replace(error.clone())
        };
        // It may hold an error of the user's connector, whose end is none of the lock's business.
        drop(before);
        self.tell();
        match retry_in {
            _ if close >= Close::Now => self.end(End::Closed),
            Some(delay) => {
                self.stage = Stage::Waiting(Some(later(now, delay)));
                Flow::Again
            }
            None => self.end(End::Failed(error)),
        }
    }

    fn stop(&mut self, end: End) -> Flow {
        self.stage = Stage::Ended;
        let result = match &end {
            End::Failed(error) => Err(error.clone()),
            _ => Ok(()),
        };
        let rest = self.shared.lock().end(end, &mut self.woken);
        drop(rest);
        self.wake();
        self.trace.tell(&Told::Ended(&result));
        self.result = Some(result);
        Flow::Again
    }

    /// Wakes those who watch, if there is something new.
    fn tell(&mut self) {
        self.news = self.shared.lock().log.tell(&mut self.woken);
        self.wake();
    }

    /// Wakes whom the last look at the state concerns; the lock is not held.
    fn wake(&mut self) {
        for event in mem::take(&mut self.news).happened {
            self.trace.tell(&Told::Happened(&event));
        }
        self.spent.clear();
        for waker in self.woken.drain(..) {
            waker.wake();
        }
        if self.woken.capacity() > 64 {
            self.woken = Vec::new();
        }
    }
}

impl<C: Connector, T: Timer> Future for Driver<C, T> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let driver = self.get_mut();
        let _entered = driver.trace.enter();
        let poll = driver.rounds(cx);
        driver.trace.dropped(|| driver.shared.lock().router.lagged());
        poll
    }
}

impl<C: Connector, T> Drop for Driver<C, T> {
    fn drop(&mut self) {
        let driver = {
            let mut state = self.shared.lock();
            (state.end(End::DriverGone, &mut self.woken), state.touch())
        };
        drop(driver);
        for waker in self.woken.drain(..) {
            waker.wake();
        }
        if self.result.is_none() {
            let _entered = self.trace.enter();
            self.trace.tell(&Told::DriverDropped);
        }
    }
}

impl<C: Connector, T> fmt::Debug for Driver<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Waiting(_) => "waiting",
            Stage::Preparing(..) => "preparing",
            Stage::Connecting(_) => "connecting",
            Stage::Running(_) => "running",
            Stage::Ending(_) => "ending",
            Stage::Storing(_) => "storing",
            Stage::Ended => "ended",
        };
        f.debug_struct("Driver").field("stage", &stage).finish_non_exhaustive()
    }
}
