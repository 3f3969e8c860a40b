//! Request and response: MQTT 5.0 section 4.10, and a convention for MQTT 3.x.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use mqtt_proto::{Publish, QoS};

use crate::client::{Client, IntoTopicName};
use crate::error::{RequestError, TokenError};
use crate::message::Message;
use crate::shared::{Look, MARK, Pending, Shared};

mod respond;

pub use respond::{Request, Responder, Response};

impl Client {
    /// Publishes a request, and waits for the response.
    ///
    /// The request is made at the call, at QoS 1: a responder may get it twice. For another QoS or
    /// properties see [`request_with`](Client::request_with). It resolves to the response, or to what went
    /// wrong, after `timeout` at the latest; the time counts from the call, by the clock of the driver's
    /// [`Timer`](crate::Timer). Responses are acknowledged as they come, also with
    /// [`manual_ack`](crate::Config::manual_ack): whoever waits for them does not outlive the program.
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) -> Result<(), mqtt_async::RequestError> {
    /// use std::time::Duration;
    ///
    /// let response = client.request("plant/7/read", "temperature", Duration::from_secs(5)).await?;
    /// println!("{:?}", response.payload());
    /// # Ok(()) }
    /// ```
    ///
    /// # What is sent
    ///
    /// With the first request, the client chooses a *response topic* and subscribes to it; all requests share
    /// it. It is subscribed to anew when the server has lost the session, whatever
    /// [`Config::resubscribe`](crate::Config::resubscribe) says, and unsubscribed from when the client ends.
    /// The request itself is held until the server has granted that: one that could not be answered is not
    /// made, so a message that is published meanwhile overtakes it. With
    /// [`ResubscribeOrder::AfterQueued`](crate::ResubscribeOrder::AfterQueued), requests that waited for a
    /// connection may miss their responses.
    ///
    /// The response topic is `response/ID/RANDOM`: [`Requests::prefix`](crate::Requests::prefix), then the
    /// Client Identifier (left out if it is not known yet or has one of `/`, `+`, `#`), then 16 hexadecimal digits
    /// that nobody guesses. If CONNECT asks for it (`config.session.connect.request_response_information`)
    /// and the server gives Response Information, it is that and the digits; requests then wait for the first
    /// connection, and for another one if the server gives another.
    ///
    /// In MQTT 5.0 the request has the Response Topic, and Correlation Data of 16 bytes: a number, and
    /// another one that nobody guesses who has not seen the request. The response has to come to that topic
    /// with that Correlation Data. If the message has no Message Expiry Interval, it gets the timeout as one,
    /// in whole seconds, so that it is not delivered when nobody waits any more.
    ///
    /// # In MQTT 3.x
    ///
    /// There are no properties, so the response topic is named in the topic, and the payload is left alone:
    ///
    /// - The request is published to `TOPIC/$response/RESPONSE`. `TOPIC` is the topic that was given, which must
    ///   have no level `$response`, and `RESPONSE` is the response topic and one more level, the
    ///   Correlation Data in 32 hexadecimal digits.
    /// - A responder for the filter `FILTER` subscribes to `FILTER/$response/#` as well, and publishes the
    ///   response to what stands behind the first `/$response/`. If the filter ends with `#`, that is enough.
    /// - The client subscribes to its response topic with one more level, `+`.
    ///
    /// | requester | responder | |
    /// |--|--|--|
    /// | 5.0 | 5.0 | in properties |
    /// | 3.x | 3.x or 5.0 | in the topic: [`respond`](Client::respond) understands both |
    /// | 5.0 with [`Requests::in_topic`](crate::Requests::in_topic) | 3.x or 5.0 | in the topic |
    /// | 5.0 | 3.x | does not work: the server leaves the properties out, so the responder cannot answer, and the request times out |
    ///
    /// # Cancellation
    ///
    /// Dropping the future forgets the request: its message goes on, and a response is counted as
    /// [late](crate::Calls::late). It is cancel-safe: a response stays until it is taken. It does not keep
    /// the client: when that ends, it resolves to [`RequestError::Ended`].
    /// [`drain`](Client::drain) and [`shutdown`](Client::shutdown) wait for responses.
    pub fn request(
        &self,
        topic: impl IntoTopicName,
        payload: impl Into<Bytes>,
        timeout: Duration,
    ) -> Requesting {
        match topic.into_topic_name() {
            Ok(topic) => {
                let publish = Publish::new(topic, payload).qos(QoS::AtLeastOnce);
                self.request_with(publish, timeout)
            }
            Err(error) => Requesting(Err(Some(RequestError::NotAccepted(error.into())))),
        }
    }

    /// Publishes a request that was built beforehand, with a QoS of its own or properties.
    ///
    /// As [`request`](Client::request). At QoS 2 no responder gets it twice; at QoS 0 nobody says that there
    /// is no responder. A Response Topic and Correlation Data are not for the caller to choose:
    /// [`RequestError::Unexpected`].
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use mqtt_async::{Publish, QoS, Text, TopicName};
    ///
    /// let mut request = Publish::new(TopicName::new("door/open")?, "1").qos(QoS::ExactlyOnce);
    /// request.properties.edit().content_type = Some(Text::new("text/plain")?);
    /// let response = client.request_with(request, Duration::from_secs(5)).await?;
    /// # Ok(()) }
    /// ```
    pub fn request_with(&self, publish: Publish, timeout: Duration) -> Requesting {
        if let Err(what) = check(&publish) {
            return Requesting(Err(Some(RequestError::Unexpected(what))));
        }
        let expiry = expiry(&publish, timeout);
        let shared = self.handle().shared();
        let now = shared.now();
        let (deadline, at) = (now.checked_add(timeout), shared.instant(now));
        let mut woken = Vec::new();
        let result = shared.command(|state| {
            let number = state.request(publish, expiry, deadline)?;
            state.serve_requests(at, &mut woken);
            Ok(number)
        });
        woken.into_iter().for_each(Waker::wake);
        Requesting(match result {
            Ok(number) => Ok(Waiting { shared: Arc::clone(shared), number, resolved: false }),
            Err(error) => Err(Some(error)),
        })
    }
}

const MARKED: &str =
    "a topic of requests has a level `$response`, which stands before the response topic";

/// Tells whether a topic or a filter has the level that stands before a response topic.
fn is_marked(topic: &str) -> bool {
    topic.split('/').any(|level| level == MARK)
}

/// Says why a message is no request, if it is none.
fn check(publish: &Publish) -> Result<(), &'static str> {
    if is_marked(publish.topic.as_str()) {
        return Err(MARKED);
    }
    match publish.properties.get() {
        Some(it) if it.response_topic.is_some() || it.correlation_data.is_some() => Err(
            "a request has a Response Topic or Correlation Data already: the client chooses them",
        ),
        _ => Ok(()),
    }
}

/// Returns the Message Expiry Interval that the timeout makes, if the message has none.
fn expiry(publish: &Publish, timeout: Duration) -> Option<u32> {
    if publish.properties.get().is_some_and(|it| it.message_expiry_interval.is_some()) {
        return None;
    }
    // A part of a second is a whole one; what is longer than the number holds never expires.
    let seconds = timeout.as_secs().saturating_add((timeout.subsec_nanos() > 0).into());
    u32::try_from(seconds).ok()
}

/// Resolves when the request has its response, or when the time is up.
///
/// [`Client::request`] makes it. It is cancel-safe, but dropping it gives the response up.
#[derive(Debug)]
#[must_use = "dropping it forgets the request: its response is then late"]
pub struct Requesting(Result<Waiting, Option<RequestError>>);

#[derive(Debug)]
struct Waiting {
    shared: Arc<Shared>,
    number: u64,
    resolved: bool,
}

impl Waiting {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Pending>> {
        let Waiting { shared, number, resolved } = self;
        if *resolved {
            return Poll::Ready(None);
        }
        let poll = shared.poll(cx, |state, waker| {
            if let Some(end) = &state.end {
                let error = RequestError::Ended(end.token_error());
                return Look::Ready(state.calling.forget(*number, error));
            }
            state.calling.poll(*number, waker, cx)
        });
        *resolved = poll.is_ready();
        poll
    }
}

impl Future for Requesting {
    type Output = Result<Message, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let closed = || RequestError::Ended(TokenError::Closed);
        match &mut self.0 {
            Err(error) => Poll::Ready(Err(error.take().unwrap_or_else(closed))),
            // What is left of the message is dropped here, behind the lock.
            Ok(waiting) => waiting.poll(cx).map(|pending| {
                let result = pending.map(Pending::into_result).unwrap_or_else(|| Err(closed()));
                result.map(Message::acknowledged)
            }),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.resolved {
            return;
        }
        let error = RequestError::Ended(TokenError::Closed);
        // The driver may wait for it, to end.
        let pending = self.shared.command(|state| state.calling.forget(self.number, error));
        drop(pending);
    }
}
