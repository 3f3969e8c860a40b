//! A stream of its own for a subscription.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_lite::Stream;

use super::{Message, Next, hand_over};
use crate::error::TokenError;
use crate::shared::{Handle, Look, Shared, State, Taking};
use crate::tokens::{Granted, Watch};

/// The messages of a subscription: a stream.
///
/// [`Client::listen`](crate::Client::listen) makes it. Its messages wait in a queue of its own, within bounds
/// of its own ([`Inbound`](crate::Inbound)), and a message is acknowledged when it is taken out, unless
/// [`manual_ack`](crate::Config::manual_ack) is set.
///
/// # Which messages it has
///
/// Where the server has Subscription Identifiers (MQTT 5.0, if CONNACK does not deny it), messages are
/// assigned by them: a shared subscription `$share/group/a` and `a` then have one each. Streams take the
/// numbers from 8,192 up; leave these to them. A message without an identifier of a stream belongs to all
/// streams with a filter that its topic matches; so does every message in MQTT 3.x.
///
/// A message that several streams have goes to each of them. It is acknowledged once, when the last of
/// them has taken it; if one of them rejects it, it is rejected. If the connection breaks before, the server
/// sends it again (QoS 1), also for those that have taken it. A server that sends a copy for each
/// subscription sends what matches several filters more than once: with identifiers, each copy goes
/// to one stream.
///
/// A message that belongs to a stream does not go to [`messages`](crate::Client::messages), even if a filter
/// that was subscribed to with [`subscribe`](crate::Client::subscribe) matches it.
///
/// A filter that several streams listen to is subscribed to once, and unsubscribed from with the last of
/// them. Retained messages come when it is subscribed to, so only the first of the streams has them.
/// Do not `subscribe` to a filter that is listened to: the server knows one subscription for a filter.
///
/// # How it ends
///
/// It ends when the server refuses one of its filters ([`error`](Subscription::error) tells why), after
/// [`unsubscribe`](crate::Client::unsubscribe) for all of its filters, and with the client; what waits
/// can still be taken. A refusal when it is subscribed to anew, because the server had lost the session,
/// does not end it: it is in [`Status::not_resubscribed`](crate::Status::not_resubscribed), and
/// the next connection tries again. With [`Resubscribe::Never`](crate::Resubscribe::Never), a lost session
/// ends it.
///
/// Dropping it unsubscribes from what no other stream listens to. Messages of QoS 1 and 2 that it alone had
/// and that were not taken go to [`messages`](crate::Client::messages), as do those that still come;
/// its messages of QoS 0 are dropped and counted in [`Status::lagged`](crate::Status::lagged). A program
/// that drops streams should read `messages` as well: what nobody takes there holds back the
/// acknowledgements of what came later ([`Status::inbound`](crate::Status::inbound) counts it).
///
/// To keep the subscription in a session that outlives the program,
/// [`disconnect`](crate::Client::disconnect) first. After a restart, its messages may come before there is a
/// stream for them, and then go to `messages`; call [`listen`](crate::Client::listen) before the driver is
/// polled, and none does.
#[derive(Debug)]
#[must_use = "dropping it unsubscribes"]
pub struct Subscription {
    handle: Handle,
    stream: u64,
    /// Whether whoever takes a message acknowledges it.
    manual_ack: bool,
}

impl Subscription {
    pub(crate) fn new(handle: Handle, stream: u64) -> Subscription {
        let manual_ack = handle.shared().manual_ack;
        Subscription { handle, stream, manual_ack }
    }

    /// Whoever takes a message acknowledges it, whatever the configuration says.
    pub(crate) fn acknowledged_by_hand(mut self) -> Subscription {
        self.manual_ack = true;
        self
    }

    /// Waits for the next message; `None` is the end.
    ///
    /// It is cancel-safe: a message leaves the queue only when this resolves.
    #[allow(clippy::should_implement_trait, reason = "the name that every stream has for it")]
    pub fn next(&mut self) -> Next<'_, Subscription> {
        Next(self)
    }

    /// Returns the next message, if one is there.
    pub fn try_next(&mut self) -> Option<Message> {
        let shared = self.handle.shared();
        let mut taking = Taking::default();
        let message = shared.lock().take(Some(self.stream), self.manual_ack, &mut taking)?;
        Some(hand_over(shared, message, taking, self.manual_ack))
    }

    /// Returns a future that resolves when the server has answered the SUBSCRIBE.
    ///
    /// There is no need to wait for it, and messages may come before. MQTT 5.0 section 3.9.
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let commands = client.listen("plant/7/commands", mqtt_async::QoS::ExactlyOnce)?;
    /// println!("granted: {}", commands.subscribed().await?.reasons[0]);
    /// # Ok(()) }
    /// ```
    pub fn subscribed(&self) -> Listening {
        Listening { watch: Watch::new(self.handle.shared()), stream: self.stream }
    }

    /// Returns why the stream has ended, if that is a failure.
    pub fn error(&self) -> Option<TokenError> {
        let state = self.handle.shared().lock();
        state.router.stream(self.stream)?.error().cloned()
    }

    /// Returns how many messages of this stream were dropped because nobody took them in time; see
    /// [`Overflow`](crate::Overflow).
    pub fn lagged(&self) -> u64 {
        let state = self.handle.shared().lock();
        state.router.stream(self.stream).map_or(0, |stream| stream.lagged())
    }
}

/// Looks for a message, registers who waits for it.
fn look<T>(
    state: &mut State,
    stream: u64,
    waker: &mut Option<Waker>,
    cx: &Context<'_>,
) -> Look<Option<T>> {
    let ended = state.end.is_some();
    match state.router.stream_mut(stream) {
        Some(listener) if !ended && !listener.has_ended() => {
            if let Some(waker) = waker.take() {
                Look::Waiting(listener.waker.replace(waker))
            } else if listener.waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
                Look::Waiting(None)
            } else {
                Look::NeedsWaker
            }
        }
        _ => Look::Ready(None),
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let (shared, stream, manual_ack) = (self.handle.shared(), self.stream, self.manual_ack);
        let mut taking = Taking::default();
        let poll = shared.poll(cx, |state, waker| {
            match state.take(Some(stream), manual_ack, &mut taking) {
                Some(taken) => Look::Ready(Some(taken)),
                None => look(state, stream, waker, cx),
            }
        });
        poll.map(|message| Some(hand_over(shared, message?, taking, manual_ack)))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut woken = Vec::new();
        let shared: &Arc<Shared> = self.handle.shared();
        // What the stream held is dropped behind the lock.
        let listener = shared.command(|state| state.stop_listening(self.stream, &mut woken));
        drop(listener);
        woken.into_iter().for_each(Waker::wake);
    }
}

/// Resolves when the server has answered for all filters of a [`Subscription`].
///
/// It is [`TokenError::Rejected`] if the server refused one filter or more, which ends the stream. It is
/// cancel-safe: dropping it changes nothing.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Listening {
    watch: Watch,
    stream: u64,
}

impl Future for Listening {
    type Output = Result<Granted, TokenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stream = self.stream;
        self.watch.poll(cx, |state| {
            let Some(listener) = state.router.stream(stream) else {
                return Some(Err(TokenError::Closed));
            };
            if listener.has_ended() {
                return Some(Err(listener.error().cloned().unwrap_or(TokenError::Closed)));
            }
            match (state.router.granted(stream), &state.end) {
                (Some((reasons, properties)), _) => Some(Ok(Granted { reasons, properties })),
                (None, Some(end)) => Some(Err(end.token_error())),
                (None, None) => None,
            }
        })
    }
}
