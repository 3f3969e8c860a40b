//! Streams and tokens, for a thread that waits for them.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_lite::Stream;
use mqtt_proto::{Publish, ReasonCode};

use super::thread::{DriverThread, block_on, block_until};
use crate::error::TokenError;
use crate::message::{self, Listening};
use crate::tokens::Publishing;

/// The outcome of a command, to be waited for; dropping it detaches it.
///
/// It is a token of the async client, such as [`Publishing`](crate::Publishing), which says what it resolves
/// to.
///
/// ```no_run
/// # fn example(client: mqtt_async::blocking::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use mqtt_async::QoS;
///
/// client.publish("log", "not waited for", QoS::AtLeastOnce)?;
/// println!("{}", client.publish("plant/7", "21.5", QoS::AtLeastOnce)?.wait()?.reason);
/// let mut token = client.publish("plant/7", "21.6", QoS::AtLeastOnce)?;
/// while token.wait_timeout(Duration::from_secs(1)).is_none() {
///     println!("not yet");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Token<F>(F);

impl<F: Future + Unpin> Token<F> {
    pub(super) fn new(token: F) -> Token<F> {
        Token(token)
    }

    /// Waits for the outcome. Each resolves at the latest when the client ends.
    pub fn wait(self) -> F::Output {
        block_on(self.0)
    }

    /// Waits for the outcome, but not longer than that; `None`: there is none yet. It can be waited for again.
    ///
    /// The time is that of the system, whatever timer the driver has.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<F::Output> {
        block_until(&mut self.0, Instant::now().checked_add(timeout))
    }

    /// Returns the token of the async client.
    pub fn into_inner(self) -> F {
        self.0
    }
}

impl Token<Publishing> {
    /// Waits until the server has the message; as [`Publishing::received`](crate::Publishing::received).
    ///
    /// # Errors
    ///
    /// As for the final answer, which can be waited for afterwards.
    pub fn received(&mut self) -> Result<ReasonCode, TokenError> {
        block_on(self.0.received())
    }

    /// Takes the message back if it was never put on a wire; as
    /// [`Publishing::cancel`](crate::Publishing::cancel).
    pub fn cancel(self) -> Option<Publish> {
        self.0.cancel()
    }
}

/// Tells why there is no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// None is there, or came in time.
    Empty,
    /// None will come any more.
    Ended,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvError::Empty => "there is nothing yet",
            RecvError::Ended => "the stream has ended: nothing will come any more",
        })
    }
}

impl StdError for RecvError {}

/// A stream of the async client, for a thread that waits for its items: messages, events, changes.
///
/// Each of these is one: [`Messages`](super::Messages), [`Subscription`](super::Subscription),
/// [`Events`](super::Events), [`StatusChanges`](super::StatusChanges). A message is acknowledged when it is
/// returned, unless [`manual_ack`](crate::Config::manual_ack) is set.
///
/// ```no_run
/// # fn example(client: mqtt_async::blocking::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use mqtt_async::QoS;
/// use mqtt_async::blocking::RecvError;
///
/// let mut readings = client.listen("plant/+/temperature", QoS::AtLeastOnce)?;
/// match readings.recv_timeout(Duration::from_secs(60)) {
///     Ok(message) => println!("{}: {:?}", message.topic(), message.payload()),
///     Err(RecvError::Empty) => println!("nothing for a minute"),
///     Err(error) => return Err(error.into()),
/// }
/// for message in readings.iter().take(10) {
///     println!("{}: {:?}", message.topic(), message.payload());
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Receiver<S> {
    // Dropped in this order: the thread may end when the stream is gone.
    stream: S,
    _thread: Arc<DriverThread>,
}

impl<S: Stream + Unpin> Receiver<S> {
    pub(super) fn new(stream: S, thread: &Arc<DriverThread>) -> Receiver<S> {
        Receiver { stream, _thread: Arc::clone(thread) }
    }

    /// Waits for the next item; `None` is the end.
    pub fn recv(&mut self) -> Option<S::Item> {
        block_on(Next(&mut self.stream))
    }

    /// Waits for the next item, but not longer than that. Nothing is lost when the time is up.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`] when the time is up, [`RecvError::Ended`] at the end.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<S::Item, RecvError> {
        let deadline = Instant::now().checked_add(timeout);
        match block_until(&mut Next(&mut self.stream), deadline) {
            Some(item) => item.ok_or(RecvError::Ended),
            None => Err(RecvError::Empty),
        }
    }

    /// Returns the next item, if one is there.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`] if none is there, [`RecvError::Ended`] at the end.
    pub fn try_recv(&mut self) -> Result<S::Item, RecvError> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.stream).poll_next(&mut cx) {
            Poll::Ready(item) => item.ok_or(RecvError::Ended),
            Poll::Pending => Err(RecvError::Empty),
        }
    }

    /// Returns an iterator that waits for each item, and ends with the stream.
    pub fn iter(&mut self) -> Iter<'_, S> {
        Iter(self)
    }
}

impl Receiver<message::Subscription> {
    /// Returns a token of the server's answer to the SUBSCRIBE; as
    /// [`Subscription::subscribed`](crate::Subscription::subscribed).
    pub fn subscribed(&self) -> Token<Listening> {
        Token(self.stream.subscribed())
    }

    /// Returns why the stream has ended, if that is a failure.
    pub fn error(&self) -> Option<TokenError> {
        self.stream.error()
    }

    /// Returns how many messages of this stream were dropped because nobody took them in time.
    pub fn lagged(&self) -> u64 {
        self.stream.lagged()
    }
}

struct Next<'a, S>(&'a mut S);

impl<S: Stream + Unpin> Future for Next<'_, S> {
    type Output = Option<S::Item>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut *self.0).poll_next(cx)
    }
}

/// What [`Receiver::iter`] returns.
#[derive(Debug)]
pub struct Iter<'a, S>(&'a mut Receiver<S>);

impl<S: Stream + Unpin> Iterator for Iter<'_, S> {
    type Item = S::Item;

    fn next(&mut self) -> Option<S::Item> {
        self.0.recv()
    }
}

impl<'a, S: Stream + Unpin> IntoIterator for &'a mut Receiver<S> {
    type Item = S::Item;
    type IntoIter = Iter<'a, S>;

    fn into_iter(self) -> Iter<'a, S> {
        self.iter()
    }
}

/// The iterator of a [`Receiver`] that is given away.
#[derive(Debug)]
pub struct IntoIter<S>(Receiver<S>);

impl<S: Stream + Unpin> Iterator for IntoIter<S> {
    type Item = S::Item;

    fn next(&mut self) -> Option<S::Item> {
        self.0.recv()
    }
}

impl<S: Stream + Unpin> IntoIterator for Receiver<S> {
    type Item = S::Item;
    type IntoIter = IntoIter<S>;

    fn into_iter(self) -> IntoIter<S> {
        IntoIter(self)
    }
}
