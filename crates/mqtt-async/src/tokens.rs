//! Tokens: futures that observe what becomes of a command.
//!
//! Dropping one detaches it: the command goes on. Each is cancel-safe, and each resolves at the latest
//! when the client ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mqtt_proto::{AckProperties, Publish, ReasonCode};

use crate::config::Dropped;
use crate::error::TokenError;
use crate::shared::{Answer, End, Key, Look, Outcome, Shared, Slot, State};
use crate::status::Connected;

/// What the server said to a message that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Success or No matching subscribers; Success for QoS 0 and in MQTT 3.x.
    pub reason: ReasonCode,
    /// What else it said.
    pub properties: AckProperties,
}

/// What the server said to a SUBSCRIBE or UNSUBSCRIBE that it granted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// One code for each filter, in its order: the granted QoS, or for UNSUBSCRIBE whether there was
    /// such a subscription (in MQTT 3.x, which does not say, there are none).
    pub reasons: Vec<ReasonCode>,
    /// What else it said.
    pub properties: AckProperties,
}

/// A token as such: it finds its outcome where its slot says.
#[derive(Debug)]
struct Observer {
    /// `None`: there was no room for the message, and it was dropped at once.
    slot: Option<Slot>,
    resolved: bool,
}

impl Observer {
    const fn new(slot: Option<Slot>) -> Observer {
        Observer { slot, resolved: false }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Answer, TokenError>> {
        if self.resolved {
            return Poll::Ready(Err(TokenError::Closed));
        }
        let Some(slot) = &self.slot else {
            self.resolved = true;
            return Poll::Ready(Err(TokenError::Dropped(Dropped::Newest)));
        };
        let poll = slot.poll(cx);
        self.resolved = poll.is_ready();
        poll
    }

    fn poll_received(&self, cx: &Context<'_>) -> Poll<Result<ReasonCode, TokenError>> {
        if self.resolved {
            return Poll::Ready(Err(TokenError::Closed));
        }
        match &self.slot {
            Some(slot) => slot.poll_received(cx),
            None => Poll::Ready(Err(TokenError::Dropped(Dropped::Newest))),
        }
    }
}

/// Resolves when the message has its final answer: the transport has taken all bytes of QoS 0, QoS 1 had
/// its PUBACK, QoS 2 its PUBCOMP; MQTT 5.0 section 4.3.
///
/// It survives reconnects, but at QoS 0 a message that was partly written when the connection broke ends
/// as [`Failure::NotWritten`](crate::Failure::NotWritten). An answer that is a failure is [`TokenError::Rejected`].
///
/// It is cancel-safe: dropping it changes nothing about the message; [`cancel`](Publishing::cancel) does.
///
/// ```
/// # async fn example(client: mqtt_async::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use mqtt_async::QoS;
///
/// client.publish("log", "not awaited", QoS::AtMostOnce)?;
/// let published = client.publish("plant/7", "21.5", QoS::AtLeastOnce)?.await?;
/// println!("{}", published.reason);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Publishing(Observer);

impl Publishing {
    pub(crate) const fn new(slot: Option<Slot>) -> Publishing {
        Publishing(Observer::new(slot))
    }

    /// Waits until the server has the message: PUBREC at QoS 2, else the final answer.
    ///
    /// What it resolves to is what the server said. From then on the server is responsible for the message;
    /// the rest of the exchange only sees to it that it is not delivered twice. The final answer can be
    /// awaited afterwards. It is cancel-safe. MQTT 5.0 section 4.3.3.
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut publishing = client.publish("bill", "7", mqtt_async::QoS::ExactlyOnce)?;
    /// publishing.received().await?;
    /// publishing.await?;
    /// # Ok(()) }
    /// ```
    pub fn received(&mut self) -> Received<'_> {
        Received(&self.0)
    }

    /// Takes the message back if it was never put on a wire, and returns it.
    ///
    /// `None` means that it was sent or has ended already. Takes time linear in the number of messages
    /// that wait.
    pub fn cancel(self) -> Option<Publish> {
        self.0.slot?.cancel()
    }
}

impl Future for Publishing {
    type Output = Result<Published, TokenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map(|result| match result? {
            Answer::Published(reason, properties) => Ok(Published { reason, properties }),
            Answer::Request(..) => Err(TokenError::Closed),
        })
    }
}

/// What [`Publishing::received`] returns. It is cancel-safe.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Received<'a>(&'a Observer);

impl Future for Received<'_> {
    type Output = Result<ReasonCode, TokenError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_received(cx)
    }
}

macro_rules! request_token {
    ($(#[$attr:meta])* $name:ident) => {
        $(#[$attr])*
        #[derive(Debug)]
        pub struct $name(Observer);

        impl $name {
            pub(crate) const fn new(slot: Slot) -> $name {
                $name(Observer::new(Some(slot)))
            }
        }

        impl Future for $name {
            type Output = Result<Granted, TokenError>;

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                self.0.poll(cx).map(|result| match result? {
                    Answer::Request(reasons, properties) => Ok(Granted { reasons, properties }),
                    Answer::Published(..) => Err(TokenError::Closed),
                })
            }
        }
    };
}

request_token! {
    /// Resolves when the server has answered the SUBSCRIBE: MQTT 5.0 section 3.9.
    ///
    /// It is [`TokenError::Rejected`] if the server refused one filter or more; the others are subscribed
    /// to all the same. It is cancel-safe: dropping it changes nothing about the subscription.
    Subscribing
}

request_token! {
    /// Resolves when the server has answered the UNSUBSCRIBE: MQTT 5.0 section 3.11.
    ///
    /// That there was no such subscription is no failure. It is cancel-safe: dropping it changes nothing.
    Unsubscribing
}

/// One who waits for something that concerns the whole client, or a stream.
#[derive(Debug)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
    key: Key,
}

impl Watch {
    pub(crate) fn new(shared: &Arc<Shared>) -> Watch {
        Watch { shared: Arc::clone(shared), key: Key::default() }
    }

    pub(crate) fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        mut check: impl FnMut(&mut State) -> Option<T>,
    ) -> Poll<T> {
        let Watch { shared, key } = self;
        shared.poll(cx, |state, waker| {
            if let Some(value) = check(state) {
                Look::Ready(value)
            } else {
                state.observers.wait(key, waker, cx)
            }
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let waker = self.shared.lock().observers.remove(&self.key);
        drop(waker);
    }
}

macro_rules! watching_token {
    ($(#[$attr:meta])* $name:ident, $output:ty, $check:expr) => {
        $(#[$attr])*
        #[derive(Debug)]
        pub struct $name(Watch);

        impl $name {
            pub(crate) fn new(shared: &Arc<Shared>) -> $name {
                $name(Watch::new(shared))
            }
        }

        impl Future for $name {
            type Output = $output;

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                self.0.poll(cx, |state| ($check)(state))
            }
        }
    };
}

watching_token! {
    /// Resolves when there is a connection that the server has accepted; at once if there is one.
    ///
    /// It waits over failed attempts: [`Status::last_error`](crate::Status::last_error) says why they
    /// fail. It fails when the client ends. It is cancel-safe.
    #[must_use = "a future does nothing unless it is awaited"]
    Connecting, Result<Connected, TokenError>, |state: &State| match (&state.connected, &state.end) {
        (Some(connected), _) => Some(Ok(connected.clone())),
        (None, Some(end)) => Some(Err(end.token_error())),
        (None, None) => None,
    }
}

watching_token! {
    /// Resolves when there is room for another message after [`PublishError::Full`](crate::PublishError::Full).
    ///
    /// It fails when the client ends. It reserves nothing, so another task may be faster, and it is cancel-safe.
    #[must_use = "a future does nothing unless it is awaited"]
    Ready, Result<(), TokenError>, |state: &State| match &state.end {
        Some(end) => Some(Err(end.token_error())),
        None => (!state.full).then_some(Ok(())),
    }
}

watching_token! {
    /// Resolves when the client has ended: the connection is closed in order, or the driver gave up.
    ///
    /// It is cancel-safe: dropping it changes nothing, the client ends all the same.
    Closing, Result<(), TokenError>, |state: &State| state.end.as_ref().map(|end| match end {
        End::Closed => Ok(()),
        end => Err(end.token_error()),
    })
}

/// Resolves when the server has accepted the re-authentication, and the authenticator what it said.
///
/// It is [`TokenError::Reauthentication`] if either does not, or if the connection ends before: the next one
/// begins with an authentication of its own. It is cancel-safe: dropping it changes nothing.
#[derive(Debug)]
pub struct Reauthenticating {
    watch: Watch,
    outcome: Arc<Outcome>,
}

impl Reauthenticating {
    pub(crate) fn new(shared: &Arc<Shared>, outcome: Arc<Outcome>) -> Reauthenticating {
        Reauthenticating { watch: Watch::new(shared), outcome }
    }
}

impl Future for Reauthenticating {
    type Output = Result<(), TokenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Reauthenticating { watch, outcome } = &mut *self;
        watch.poll(cx, |state| {
            let end = state.end.as_ref().map(|end| Err(end.token_error()));
            outcome.get().cloned().or(end)
        })
    }
}
