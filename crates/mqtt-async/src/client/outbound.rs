//! The ways to publish that wait for room.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use mqtt_proto::{Publish, QoS};

use super::{Client, IntoTopicName};
use crate::error::PublishError;
use crate::shared::{Shared, Ticket};
use crate::tokens::Publishing;

impl Client {
    /// Publishes a message as soon as there is room for it; see [`send_wait`](Client::send_wait).
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for number in 0..1_000_000 {
    ///     let payload = number.to_string();
    ///     client.publish_wait("count", payload, mqtt_async::QoS::AtLeastOnce).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn publish_wait(
        &self,
        topic: impl IntoTopicName,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> SendWait {
        match topic.into_topic_name() {
            Ok(topic) => self.send_wait(Publish::new(topic, payload).qos(qos)),
            Err(error) => SendWait::new(self.0.shared(), Err(error.into())),
        }
    }

    /// Publishes a message that was built beforehand, as soon as there is room for it.
    ///
    /// Nothing happens before the future is polled. It resolves when the message is accepted, to the token of
    /// [`send`](Client::send), and waits only where that returns [`PublishError::Full`]: other errors come at
    /// once. Those who wait get room in the order in which they began to wait; `send` does not queue up behind
    /// them. MQTT 5.0 section 3.3.
    pub fn send_wait(&self, publish: Publish) -> SendWait {
        SendWait::new(self.0.shared(), Ok(publish))
    }
}

/// Resolves when a message is accepted: what [`Client::send_wait`] and [`Client::publish_wait`] return.
///
/// It is cancel-safe: the message is accepted only in the poll that resolves. Dropped before, it was not sent,
/// and is dropped too; [`into_publish`](SendWait::into_publish) gives it back instead. The future does not keep
/// the client: when that is closed, it resolves to [`PublishError::Closed`], with the message.
#[derive(Debug)]
#[must_use = "the message is not accepted before the future is awaited"]
pub struct SendWait {
    shared: Arc<Shared>,
    publish: Option<Publish>,
    /// Why there is no message.
    error: Option<PublishError>,
    ticket: Ticket,
}

impl SendWait {
    fn new(shared: &Arc<Shared>, publish: Result<Publish, PublishError>) -> SendWait {
        let (publish, error) = match publish {
            Ok(publish) => (Some(publish), None),
            Err(error) => (None, Some(error)),
        };
        SendWait { shared: Arc::clone(shared), publish, error, ticket: Ticket::default() }
    }

    /// Gives the wait up, and returns the message: `None` if it was accepted, or never was one.
    pub fn into_publish(mut self) -> Option<Publish> {
        self.publish.take()
    }
}

impl Future for SendWait {
    type Output = Result<Publishing, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let SendWait { shared, publish, error, ticket } = &mut *self;
        if let Some(error) = error.take() {
            return Poll::Ready(Err(error));
        }
        if publish.is_none() {
            // It has resolved already.
            return Poll::Pending;
        }
        let poll = shared.poll_publish(publish, ticket, cx);
        if poll.is_ready() {
            *ticket = Ticket::default();
            *publish = None;
        }
        poll.map_ok(Publishing::new)
    }
}

impl Drop for SendWait {
    fn drop(&mut self) {
        self.shared.leave_line(&self.ticket);
    }
}
