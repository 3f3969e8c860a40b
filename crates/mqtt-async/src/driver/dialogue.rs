//! An enhanced authentication on a connection: the server's steps, and the authenticator's.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use std::{fmt, io};

use bytes::{Bytes, BytesMut};
use mqtt_proto::{
    Auth, Client as ClientRole, Disconnect, EncodeError, Packet, ReasonCode, Session, Text,
    Version, codec,
};

use super::attempt::Preparing;
use super::ending::Ending;
use super::running::Running;
use super::{Driver, Flow, Stage};
use crate::auth::{Authenticate, Authenticator, Task, Working};
use crate::connect::Connector;
use crate::error::{AuthenticationStep as Step, Error, TokenError};
use crate::hooks::{Attempt, HookError};
use crate::shared::owned;
use crate::time::Timer;

/// An authentication that is under way.
pub(super) struct Dialogue {
    method: Text,
    /// Whether it is a later one: messages flow meanwhile.
    again: bool,
    /// The authenticator, while it is the server's turn.
    waiting: Option<Box<dyn Authenticate>>,
    /// The authenticator at work, and at what.
    working: Option<(Working, Step)>,
    /// Whether the work has just begun: nobody is woken for it.
    fresh: bool,
    /// The CONNACK that accepts. The session gets it when the authenticator has accepted it, so that the
    /// connection is not used before.
    connack: Option<Bytes>,
}

impl<C: Connector, T> Driver<C, T> {
    /// Sets what makes an [`Authenticator`] for each enhanced authentication: of each attempt to connect, and
    /// of each [`reauthenticate`](crate::Client::reauthenticate).
    ///
    /// It is called after [`before_connect`](Driver::before_connect). Method and data of CONNECT come from it,
    /// whatever the configuration says. It needs MQTT 5.0: with another version, each attempt is an
    /// [`Error::Config`], and [`fall_back_to_v311`](crate::Config::fall_back_to_v311) does nothing, since that
    /// would leave out the authentication. MQTT 5.0 section 4.12.
    ///
    /// ```
    /// # use mqtt_async::{Authenticator, Client, Config, HookError, Version};
    /// # use bytes::Bytes;
    /// /// One step: the server looks at the token, and says no more.
    /// struct Token(String);
    ///
    /// impl Authenticator for Token {
    ///     fn method(&self) -> &str {
    ///         "TOKEN"
    ///     }
    ///     async fn start(&mut self) -> Result<Option<Bytes>, HookError> {
    ///         Ok(Some(self.0.clone().into()))
    ///     }
    ///     async fn answer(&mut self, _: Option<Bytes>) -> Result<Option<Bytes>, HookError> {
    ///         Err("this method has one step".into())
    ///     }
    ///     async fn finish(&mut self, _: Option<Bytes>) -> Result<(), HookError> {
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[cfg(feature = "async-io")]
    /// # fn example() {
    /// # use mqtt_async::Tcp;
    /// let (client, driver) = Client::new(Config::new(Version::V5), Tcp::new("localhost", 1883));
    /// let driver = driver.authenticator(|| Token("secret".into()));
    /// # }
    /// ```
    pub fn authenticator<A: Authenticator>(
        mut self,
        mut make: impl FnMut() -> A + Send + 'static,
    ) -> Self {
        self.hooks.authenticator = Some(Box::new(move || Box::new(make())));
        self.shared.lock().authentication.possible = true;
        self
    }
}

impl<C: Connector, T: Timer> Driver<C, T> {
    /// Begins the authentication of an attempt to connect, if there is one.
    pub(super) fn introduce(&mut self, attempt: Attempt, deadline: Instant) -> Flow {
        let Some(make) = &mut self.hooks.authenticator else { return self.prepared(attempt) };
        if attempt.version != Version::V5 {
            let what = "enhanced authentication";
            let error = EncodeError::NotInVersion { what, version: attempt.version };
            return self.lost(Error::Config(error), None);
        }
        match Dialogue::begin(make(), false) {
            Ok(dialogue) => {
                let introducing = Preparing::Introducing(Box::new(attempt), dialogue);
                self.stage = Stage::Preparing(introducing, deadline);
                Flow::Again
            }
            Err(error) => self.lost(error, None),
        }
    }

    /// The authenticator of an attempt to connect has said what it says first.
    pub(super) fn introduced(
        &mut self,
        mut attempt: Attempt,
        dialogue: Box<Dialogue>,
        data: Option<Bytes>,
    ) -> Flow {
        attempt.connect.authentication_method = Some(dialogue.method.clone());
        attempt.connect.authentication_data = data;
        self.dialogue = Some(dialogue);
        self.prepared(attempt)
    }

    /// Begins a re-authentication.
    pub(super) fn reauthenticate(&mut self, running: &mut Running<C::Io>) {
        let Some(make) = &mut self.hooks.authenticator else { return };
        match Dialogue::begin(make(), true) {
            Ok(dialogue) => running.dialogue = Some(dialogue),
            Err(error) => self.reauthenticated(Err(TokenError::Reauthentication(error))),
        }
    }

    /// Ends a re-authentication, if there is one.
    pub(super) fn reauthenticated(&mut self, result: Result<(), TokenError>) {
        let mut result = Some(result);
        let outcome = {
            let mut state = self.shared.lock();
            let outcome = state.authentication.resolve(&mut result);
            if outcome.is_some() {
                state.observers.take(&mut self.woken);
            }
            outcome
        };
        drop(outcome);
        self.wake();
    }

    /// Lets the authenticator work, and tells the session what it says. Returns why the connection is to
    /// end.
    pub(super) fn converse(
        &mut self,
        running: &mut Running<C::Io>,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<(), Error> {
        let Some(dialogue) = &mut running.dialogue else { return Ok(()) };
        let Poll::Ready((step, said)) = dialogue.poll(cx) else { return Ok(()) };
        let at = self.shared.instant(now);
        let result = said.and_then(|data| {
            // The session drops it when it is sent.
            let data = data.map(owned);
            let session = &mut self.shared.lock().session;
            dialogue.tell(step, data, session, at).map_err(HookError::from)
        });
        match result {
            Ok(()) if step != Step::Finish => Ok(()),
            Ok(()) => {
                let again = dialogue.again;
                running.dialogue = None;
                if again {
                    self.reauthenticated(Ok(()));
                }
                Ok(())
            }
            Err(error) => {
                let again = dialogue.again;
                let error = Error::Authentication { step, error: error.into() };
                if !again || step != Step::Start {
                    return Err(error);
                }
                // The server knows nothing of it.
                running.dialogue = None;
                self.reauthenticated(Err(TokenError::Reauthentication(error)));
                Ok(())
            }
        }
    }

    /// Ends a connection that this side does not want, and says so.
    pub(super) fn refuse(
        &mut self,
        mut running: Running<C::Io>,
        error: Error,
        now: Instant,
    ) -> Flow {
        let words = Disconnect::new(ReasonCode::UNSPECIFIED_ERROR);
        {
            let at = self.shared.instant(now);
            let mut state = self.shared.lock();
            // It has no properties, so it can be encoded.
            let _ = codec::encode(&Packet::Disconnect(words), Version::V5, &mut state.out);
            state.session.handle_eof(at);
            state.handle_events(&mut self.woken);
        }
        self.wake();
        running.dialogue = None;
        self.stage = Stage::Ending(Ending::new(running, error, now));
        Flow::Again
    }
}

impl Dialogue {
    fn begin(authenticator: Box<dyn Authenticate>, again: bool) -> Result<Box<Dialogue>, Error> {
        let method = Text::new(authenticator.name())
            .map_err(|error| Error::Authentication { step: Step::Start, error: Arc::new(error) })?;
        let working = Some((authenticator.work(Task::Start), Step::Start));
        let waiting = None;
        let dialogue = Dialogue { method, again, waiting, working, fresh: true, connack: None };
        // Most connections have none.
        Ok(Box::new(dialogue))
    }

    /// Waits for the authenticator.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(Step, Result<Option<Bytes>, HookError>)> {
        self.fresh = false;
        let Some((working, step)) = &mut self.working else { return Poll::Pending };
        let Poll::Ready((authenticator, said)) = working.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        let step = *step;
        self.working = None;
        self.waiting = Some(authenticator);
        Poll::Ready((step, said))
    }

    /// Tells the session what the authenticator has said.
    fn tell(
        &mut self,
        step: Step,
        data: Option<Bytes>,
        session: &mut Session<ClientRole>,
        at: mqtt_proto::Instant,
    ) -> Result<(), mqtt_proto::CommandError> {
        let reason = match step {
            Step::Start => ReasonCode::RE_AUTHENTICATE,
            Step::Answer => ReasonCode::CONTINUE_AUTHENTICATION,
            Step::Finish => {
                if let Some(connack) = self.connack.take() {
                    session.handle_input(&mut BytesMut::from(&connack[..]), at);
                }
                return Ok(());
            }
        };
        let auth = Auth {
            reason,
            authentication_method: Some(self.method.clone()),
            authentication_data: data,
            ..Auth::default()
        };
        session.authenticate(auth, at)
    }

    /// It is the authenticator's turn.
    pub(super) fn ask(&mut self, task: Task) {
        let step = match &task {
            Task::Start => Step::Start,
            Task::Answer(_) => Step::Answer,
            Task::Finish(_) => Step::Finish,
        };
        if let Some(authenticator) = self.waiting.take() {
            self.working = Some((authenticator.work(task), step));
            self.fresh = true;
        }
    }

    /// Shows the session the next packet of the input, but for a CONNACK that accepts. Tells whether there
    /// may be more.
    fn feed(
        &mut self,
        session: &mut Session<ClientRole>,
        input: &mut BytesMut,
        at: mqtt_proto::Instant,
    ) -> bool {
        let config = session.config();
        let max = config.connect.maximum_packet_size.unwrap_or(config.maximum_packet_size);
        let frame = match codec::frame(input, max) {
            Ok(Some(frame)) => frame,
            Ok(None) => return false,
            Err(_) => {
                // The session finds the same fault, and knows what to say.
                session.handle_input(input, at);
                return false;
            }
        };
        match codec::decode(&frame, Version::V5) {
            Ok(Packet::ConnAck(connack))
                if connack.reason == ReasonCode::SUCCESS
                    && connack.authentication_method.as_ref() == Some(&self.method) =>
            {
                self.connack = Some(frame);
                self.ask(Task::Finish(connack.authentication_data));
            }
            _ => session.handle_input(&mut BytesMut::from(&frame[..]), at),
        }
        !input.is_empty()
    }
}

impl<Io> Running<Io> {
    /// Shows the session what was read.
    pub(super) fn feed(&mut self, session: &mut Session<ClientRole>, at: mqtt_proto::Instant) {
        if !self.fresh || self.is_held() {
            return;
        }
        self.fresh = match &mut self.dialogue {
            Some(dialogue) if !dialogue.again => dialogue.feed(session, &mut self.link.input, at),
            _ => {
                session.handle_input(&mut self.link.input, at);
                false
            }
        };
    }

    /// The server has sent a step.
    pub(super) fn hear(&mut self, auth: Auth) -> Result<(), Error> {
        let Some(dialogue) = &mut self.dialogue else {
            let what = "the driver has no authenticator to answer it: `Driver::authenticator`";
            let error = Arc::new(io::Error::new(io::ErrorKind::Unsupported, what));
            return Err(Error::Authentication { step: Step::Answer, error });
        };
        dialogue.ask(match auth.reason {
            ReasonCode::SUCCESS => Task::Finish(auth.authentication_data),
            _ => Task::Answer(auth.authentication_data),
        });
        Ok(())
    }

    /// Tells whether nothing may happen on the connection before the authenticator is done.
    pub(super) fn is_held(&self) -> bool {
        self.dialogue.as_ref().is_some_and(|it| !it.again && it.working.is_some())
    }

    /// Tells whether there is something to do that nobody is woken for.
    pub(super) fn is_due(&self) -> bool {
        self.dialogue.as_ref().is_some_and(|it| it.fresh) || (self.fresh && !self.is_held())
    }
}

impl fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialogue").field("method", &self.method).finish_non_exhaustive()
    }
}
