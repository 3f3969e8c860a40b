//! The begin of a connection: the hooks of the application, then the connector.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::dialogue::Dialogue;
use super::running::Running;
use super::{Driver, Flow, Stage};
use mqtt_proto::{Connect, PublishProperties, Version};

use crate::config::StageTimeouts;
use crate::connect::Connector;
use crate::error::{AuthenticationStep, Error};
use crate::hooks::{Attempt, HookError, Hooked, Hooks};
use crate::link::Link;
use crate::shared::{Close, End, own_connect};
use crate::stage::{ConnectStage, Progress};
use crate::status::Phase;
use crate::time::{Timer, later};
use crate::trace::Told;

/// A connector at work.
pub(super) struct Dialing<C: Connector> {
    future: Pin<Box<C::Connecting>>,
    progress: Progress,
    /// When all of it has to be done.
    deadline: Instant,
    /// The stage that was seen last, and when it has to be done.
    stage: Option<(ConnectStage, Instant)>,
}

impl<C: Connector> Dialing<C> {
    /// Returns when what the connector is at has to be done.
    fn deadline(&mut self, limits: &StageTimeouts, now: Instant) -> Instant {
        let Some(stage) = self.progress.stage() else { return self.deadline };
        let by = match self.stage {
            Some((seen, by)) if seen == stage => by,
            _ => later(now, limits.limit(stage)),
        };
        self.stage = Some((stage, by));
        by.min(self.deadline)
    }
}

/// What goes before the connector.
pub(super) enum Preparing {
    Hook(Hooked),
    /// The authenticator says what it says first.
    Introducing(Box<Attempt>, Box<Dialogue>),
}

impl Preparing {
    fn failed(&self, error: io::Error) -> Error {
        match self {
            Preparing::Hook(_) => Error::Hook(Arc::new(error)),
            Preparing::Introducing(..) => {
                Error::Authentication { step: AuthenticationStep::Start, error: Arc::new(error) }
            }
        }
    }
}

impl<C: Connector, T> Driver<C, T> {
    /// Sets a hook that is called before each attempt to connect, the first one included.
    ///
    /// It may change the CONNECT, as for a token that expires, and name the server. It has
    /// [`connect_timeout`](crate::Config::connect_timeout) for it. An error counts as a failed attempt:
    /// [`Error::Hook`].
    ///
    /// The hook runs inside the driver: while it is polled nothing else of this client happens, so what
    /// blocks belongs into a thread. It may call the client; but a handle that it keeps counts as one, and
    /// the client then does not end when the others are dropped. Its future is dropped when the time is up or the client is closed.
    ///
    /// ```
    /// # use mqtt_async::{Client, Config, Tcp, Version};
    /// # async fn fetch_token() -> std::io::Result<String> { Ok(String::new()) }
    /// # #[cfg(feature = "async-io")]
    /// # fn example() {
    /// let (client, driver) = Client::new(Config::new(Version::V5), Tcp::new("localhost", 1883));
    /// let driver = driver.before_connect(|mut attempt| async move {
    ///     attempt.connect.password = Some(fetch_token().await?.into());
    ///     Ok(attempt)
    /// });
    /// # }
    /// ```
    pub fn before_connect<F, Fut>(mut self, mut hook: F) -> Self
    where
        F: FnMut(Attempt) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Attempt, HookError>> + Send + 'static,
    {
        self.hooks.before_connect = Some(Box::new(move |attempt| Box::pin(hook(attempt))));
        self
    }

    /// Sets a hook that decides whether to connect again, instead of [`Error::is_retryable`].
    ///
    /// It sees why the connection was lost or could not be made, and how many attempts have failed since
    /// the server last accepted one (0 if it had accepted the one that was lost). With `false` the driver
    /// ends with that error. It is not asked where
    /// [`Config::reconnect`](crate::Config::reconnect) permits no more attempts.
    ///
    /// ```
    /// # use mqtt_async::{Client, Config, Tcp, Version};
    /// # #[cfg(feature = "async-io")]
    /// # fn example() {
    /// let (client, driver) = Client::new(Config::new(Version::V5), Tcp::new("localhost", 1883));
    /// // With `before_connect`, a refused token is worth another one, but not for ever.
    /// let driver = driver.reconnect_if(|error, failed| {
    ///     error.is_retryable() || (error.is_auth() && failed < 3)
    /// });
    /// # }
    /// ```
    pub fn reconnect_if(mut self, hook: impl FnMut(&Error, u32) -> bool + Send + 'static) -> Self {
        self.hooks.reconnect_if = Some(Box::new(hook));
        self
    }
}

impl<C: Connector, T: Timer> Driver<C, T> {
    /// Begins an attempt to connect.
    pub(super) fn begin(&mut self) -> Flow {
        let Hooks { before_connect, authenticator, .. } = &self.hooks;
        let attempt = {
            let mut state = self.shared.lock();
            state.set_phase(Phase::Connecting);
            (before_connect.is_some() || authenticator.is_some()).then(|| Attempt {
                failed: state.failed_attempts,
                last_error: state.last_error.clone(),
                version: state.session.config().version,
                connect: state.session.config().connect.clone(),
                server: self.route.target().map(|server| server.to_string()),
            })
        };
        self.dialogue = None;
        self.tell();
        let deadline = self.connect_deadline();
        match (&mut self.hooks.before_connect, attempt) {
            (Some(hook), Some(attempt)) => {
                self.stage = Stage::Preparing(Preparing::Hook(hook(attempt)), deadline);
                Flow::Again
            }
            (None, Some(attempt)) => self.introduce(attempt, deadline),
            _ => self.dial_to(self.route.target().map(|server| server.to_string())),
        }
    }

    /// Waits for the hook, or for the authenticator.
    pub(super) fn prepare(
        &mut self,
        preparing: Preparing,
        deadline: Instant,
        cx: &mut Context<'_>,
    ) -> Flow {
        let preparing = match preparing {
            Preparing::Hook(mut future) => match future.as_mut().poll(cx) {
                Poll::Ready(Ok(attempt)) => return self.introduce(attempt, deadline),
                Poll::Ready(Err(error)) => return self.lost(Error::Hook(error.into()), None),
                Poll::Pending => Preparing::Hook(future),
            },
            Preparing::Introducing(attempt, mut dialogue) => match dialogue.poll(cx) {
                Poll::Ready((_, Ok(data))) => return self.introduced(*attempt, dialogue, data),
                Poll::Ready((step, Err(error))) => {
                    let error = Error::Authentication { step, error: error.into() };
                    return self.lost(error, None);
                }
                Poll::Pending => Preparing::Introducing(attempt, dialogue),
            },
        };
        if self.is_unwanted() {
            return self.end(End::Closed);
        }
        if self.timer.now() >= deadline {
            let error = io::Error::new(io::ErrorKind::TimedOut, "it takes too long");
            return self.lost(preparing.failed(error), None);
        }
        self.stage = Stage::Preparing(preparing, deadline);
        Flow::SleepUntil(deadline)
    }

    pub(super) fn prepared(&mut self, attempt: Attempt) -> Flow {
        let Attempt { version, connect, server, .. } = attempt;
        self.configure(version, connect);
        self.dial_to(server)
    }

    pub(super) fn dial(&mut self) -> Flow {
        if let Err(error) = self.check_durable() {
            return self.lost(error.into(), None);
        }
        let (version, server) = {
            let state = self.shared.lock();
            (state.session.config().version, state.server.clone())
        };
        self.trace.tell(&Told::Attempt { version, server: server.as_deref() });
        let progress = Progress::default();
        let future = Box::pin(self.connector.connect(&progress));
        let deadline = self.connect_deadline();
        self.stage = Stage::Connecting(Dialing { future, progress, deadline, stage: None });
        Flow::Again
    }

    fn connect_deadline(&self) -> Instant {
        later(self.timer.now(), self.limits.connect_timeout)
    }

    /// Waits for the connector.
    pub(super) fn connect(&mut self, mut dialing: Dialing<C>, cx: &mut Context<'_>) -> Flow {
        match dialing.future.as_mut().poll(cx) {
            Poll::Ready(Ok(io)) => {
                let now = self.timer.now();
                self.shared.lock().session.handle_open(self.shared.instant(now));
                let dialogue = self.dialogue.take();
                self.stage = Stage::Running(Running::new(Link::new(io), dialogue));
                return Flow::Again;
            }
            Poll::Ready(Err(error)) => return self.lost(Error::Connect(Arc::new(error)), None),
            Poll::Pending => {}
        }
        if self.is_unwanted() {
            return self.end(End::Closed);
        }
        let now = self.timer.now();
        let deadline = dialing.deadline(&self.limits.stage_timeouts, now);
        if now >= deadline {
            return self.lost(Error::ConnectTimeout { stage: dialing.progress.stage() }, None);
        }
        self.stage = Stage::Connecting(dialing);
        Flow::SleepUntil(deadline)
    }

    /// Tells whether the client was closed and nothing that waits is worth the attempt.
    pub(super) fn is_unwanted(&mut self) -> bool {
        let now = self.timer.now();
        let unwanted = {
            let mut state = self.shared.lock();
            self.look_by = state.look(now, &mut self.woken);
            state.close >= Close::Late || (state.close != Close::No && !state.is_busy())
        };
        self.wake();
        unwanted
    }

    /// Goes on with MQTT 3.1.1 if that is what the server wants and the application permits; tells whether.
    pub(super) fn falls_back(&mut self, error: &Error) -> bool {
        // Without authentication, it would not be the connection that was asked for.
        let authenticates = self.hooks.authenticator.is_some();
        if !self.limits.fall_back || authenticates || !error.refuses_v5() {
            return false;
        }
        // Once: a hook may set the version back.
        self.limits.fall_back = false;
        let connect = {
            let state = self.shared.lock();
            let config = state.session.config();
            config.version.is_v5().then(|| config.connect.clone())
        };
        let Some(connect) = connect else { return false };
        self.configure(Version::V311, connect);
        true
    }

    /// Sets what the next connection begins with.
    fn configure(&mut self, version: Version, mut connect: Connect) {
        if !version.is_v5() {
            leave_properties_out(&mut connect);
        }
        own_connect(&mut connect);
        let before = {
            let mut state = self.shared.lock();
            let config = state.session.config_mut();
            config.version = version;
            std::mem::replace(&mut config.connect, connect)
        };
        // A password or payload of the user may be memory whose end is code of the user.
        drop(before);
    }

    /// Tells whether to connect again after this.
    pub(super) fn is_worth_a_retry(&mut self, error: &Error, failed: u32) -> bool {
        match &mut self.hooks.reconnect_if {
            Some(hook) => hook(error, failed),
            None => error.is_retryable(),
        }
    }
}

/// Leaves out what MQTT 3.x does not have.
fn leave_properties_out(connect: &mut Connect) {
    let Connect { client_id, clean_start, keep_alive, will, user_name, password, .. } =
        std::mem::take(connect);
    let will = will.map(|mut will| {
        will.delay_interval = None;
        will.properties = PublishProperties::default();
        will
    });
    *connect = Connect {
        client_id,
        clean_start,
        keep_alive,
        will,
        user_name,
        password,
        ..Connect::default()
    };
}
