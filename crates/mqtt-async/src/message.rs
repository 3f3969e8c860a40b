//! What comes in: messages and the stream of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_lite::Stream;
use mqtt_proto::{Properties, Publish, PublishPacket, QoS, ReasonCode, TopicName};

use crate::queue::own;
use crate::shared::{Handle, Key, Look, Shared, Taking};

mod subscription;

pub use subscription::{Listening, Subscription};

/// A message that came in.
#[derive(Debug)]
pub struct Message {
    message: mqtt_proto::Message,
    /// Whom to tell the acknowledgement, if that is the application's business.
    to: Option<Arc<Shared>>,
}

impl Message {
    /// Returns a message that has its acknowledgement.
    pub(crate) fn acknowledged(packet: PublishPacket) -> Message {
        Message { message: mqtt_proto::Message { publish: packet, ack: None }, to: None }
    }

    /// Returns the Topic Name.
    pub fn topic(&self) -> &str {
        self.message.publish.topic()
    }

    /// Returns the Topic Name as a handle, to publish to or to keep; it is there for every message that comes in.
    pub fn topic_name(&self) -> Option<TopicName> {
        self.message.publish.topic_name()
    }

    /// Returns the payload as a handle: neither this nor cloning it copies anything.
    pub fn payload(&self) -> Bytes {
        self.message.publish.payload()
    }

    /// Returns the payload.
    pub fn payload_bytes(&self) -> &[u8] {
        self.message.publish.payload_bytes()
    }

    /// Returns the QoS at which the server sent it.
    pub fn qos(&self) -> QoS {
        self.message.publish.qos()
    }

    /// Tells whether the RETAIN flag is set.
    pub fn retain(&self) -> bool {
        self.message.publish.retain()
    }

    /// Tells whether the server has sent it before: the application may know it already (QoS 1).
    pub fn dup(&self) -> bool {
        self.message.publish.dup()
    }

    /// Returns the properties, in the order in which they stand in the packet.
    pub fn properties(&self) -> Properties<'_> {
        self.message.publish.properties()
    }

    /// Returns the packet.
    pub fn packet(&self) -> &PublishPacket {
        &self.message.publish
    }

    /// Returns it as a message to be published; topic and payload share its memory. As with
    /// [`topic_name`](Message::topic_name), there is one for every message that comes in.
    pub fn to_publish(&self) -> Option<Publish> {
        self.message.publish.to_publish()
    }

    /// Returns a copy that shares no memory with other messages, still to be acknowledged if this one was.
    ///
    /// A message is a part of the block that it was read with, and keeps all of that: up to 64 KiB more than
    /// itself. Small ones were copied when they were handed over, up to
    /// [`Config::copy_up_to`](crate::Config::copy_up_to); for a larger one that is kept for long, this is the way.
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) {
    /// let mut messages = client.messages();
    /// let mut pictures = Vec::new();
    /// while let Some(message) = messages.next().await {
    ///     pictures.push(message.into_owned());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn into_owned(self) -> Message {
        let mut owned = self;
        owned.message.publish.make_owned();
        owned
    }

    /// Acknowledges it, if [`manual_ack`](crate::Config::manual_ack) leaves that to the application.
    ///
    /// Acknowledgements leave in the order in which the messages came: one that is missing holds back
    /// those behind it (MQTT-4.6.0-2). After a loss of the connection this may do nothing: the server
    /// then sends the message again. A message that is dropped instead stays unacknowledged.
    pub fn ack(self) {
        self.reject(ReasonCode::SUCCESS);
    }

    /// Acknowledges it with another reason code: with 0x80 and above, the server learns that the
    /// application did not take it (MQTT 5.0 section 3.4.2.1). In MQTT 3.x it is as [`ack`](Message::ack).
    pub fn reject(self, reason: ReasonCode) {
        if let (Some(shared), Some(ack)) = (self.to, self.message.ack) {
            shared.command(|state| state.acknowledge(ack, reason));
        }
    }
}

/// The messages that come in and belong to no [`Subscription`]: a stream.
///
/// These are the messages of [`Client::subscribe`](crate::Client::subscribe), those of a resumed session that
/// come before there is a [`Subscription`] for them, and those that still come, or were not taken, after it
/// was dropped.
///
/// There is one queue for a client, and it is there before the first of these: messages wait in it,
/// within the bounds of [`Inbound`](crate::Inbound). Several of these share it, and each message goes to
/// one of them. The stream ends when the client has ended and the queue is empty.
///
/// A message is acknowledged when it is taken out, unless [`manual_ack`](crate::Config::manual_ack)
/// is set.
///
/// ```
/// # async fn example(client: mqtt_async::Client) {
/// let mut messages = client.messages();
/// while let Some(message) = messages.next().await {
///     println!("{}: {:?}", message.topic(), message.payload());
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Messages {
    handle: Handle,
    key: Key,
}

impl Messages {
    pub(crate) fn new(handle: Handle) -> Messages {
        Messages { handle, key: Key::default() }
    }

    /// Waits for the next message; `None` is the end.
    ///
    /// It is cancel-safe: a message leaves the queue only when this resolves.
    #[allow(clippy::should_implement_trait, reason = "the name that every stream has for it")]
    pub fn next(&mut self) -> Next<'_> {
        Next(self)
    }

    /// Returns the next message, if one is there.
    #[inline(always)]
    pub fn try_next(&mut self) -> Option<Message> {
        let shared = self.handle.shared();
        let mut taking = Taking::default();
        let message = shared.lock().take(None, shared.manual_ack, &mut taking)?;
        Some(hand_over(shared, message, taking, shared.manual_ack))
    }

    #[inline]
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Message>> {
        // Most find one, and have no waker to think of.
        if let Some(message) = self.try_next() {
            return Poll::Ready(Some(message));
        }
        let Messages { handle, key } = self;
        let shared = handle.shared();
        let mut taking = Taking::default();
        let poll = shared.poll(cx, |state, waker| {
            if let Some(taken) = state.take(None, shared.manual_ack, &mut taking) {
                Look::Ready(Some(taken))
            } else if state.end.is_some() {
                Look::Ready(None)
            } else {
                state.readers.wait(key, waker, cx)
            }
        });
        poll.map(|message| Some(hand_over(shared, message?, taking, shared.manual_ack)))
    }
}

/// Gives a message that was taken to the application: small ones share no memory with what was read.
#[inline]
fn hand_over(
    shared: &Arc<Shared>,
    message: mqtt_proto::Message,
    taking: Taking,
    manual_ack: bool,
) -> Message {
    if let Some(driver) = taking.driver {
        driver.wake();
    }
    let to = (manual_ack && message.ack.is_some()).then(|| Arc::clone(shared));
    let mut message = Message { message, to };
    if !taking.settled {
        own(&mut message.message.publish, shared.copy_up_to);
    }
    message
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.poll(cx)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        let waker = self.handle.shared().lock().readers.remove(&self.key);
        drop(waker);
    }
}

/// What [`Messages::next`] and [`Subscription::next`] return. It is cancel-safe.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Next<'a, S = Messages>(&'a mut S);

impl<S: Stream<Item = Message> + Unpin> Future for Next<'_, S> {
    type Output = Option<Message>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        Pin::new(&mut *self.0).poll_next(cx)
    }
}
