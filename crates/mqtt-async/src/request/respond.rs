//! The other side: requests come in, and responses go out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_lite::Stream;
use mqtt_proto::{
    Properties, Property, Publish, PublishPacket, PublishProperties, QoS, ReasonCode, Subscribe,
    TopicFilter, TopicName,
};

use super::{MARK, MARKED, is_marked};
use crate::client::{Client, IntoTopicFilter};
use crate::error::{CommandError, PublishError, TokenError};
use crate::message::{Listening, Message, Subscription};
use crate::status::Calls;
use crate::tokens::{Connecting, Ready};

/// How many rounds one poll makes before it lets others run.
const ROUNDS: usize = 16;

impl Client {
    /// Serves the requests that come to a filter.
    ///
    /// The subscription is made at the call. The [`Responder`] does the rest when it is polled: spawn it, or
    /// join it with what you do. It calls the handler with each request, and sends what that returns to the
    /// response topic of the request, with its Correlation Data. It understands the requests of MQTT 5.0 and the
    /// convention of [`request`](Client::request), on each version. For many responders that share the
    /// requests, use a filter like `$share/GROUP/FILTER`.
    ///
    /// ```
    /// # async fn example(executor: &async_executor::Executor<'_>, client: mqtt_async::Client)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use mqtt_async::Request;
    ///
    /// let responder = client.respond("plant/+/read", |request: Request| async move {
    ///     match request.payload_bytes() {
    ///         b"temperature" => "21.5",
    ///         _ => "?",
    ///     }
    /// })?;
    /// executor.spawn(responder).detach();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CommandError`]; `Unexpected` if the filter has a level `$response`, which stands before the response
    /// topic.
    pub fn respond<H, F, R>(
        &self,
        filter: impl IntoTopicFilter,
        handler: H,
    ) -> Result<Responder<H, F>, CommandError>
    where
        H: FnMut(Request) -> F,
        F: Future<Output = R>,
        R: Into<Response>,
    {
        let filter = filter.into_topic_filter()?;
        if is_marked(filter.as_str()) {
            return Err(CommandError::Unexpected(MARKED));
        }
        // Each request at the QoS that it was sent with.
        let mut subscribe = Subscribe::new(filter, QoS::ExactlyOnce);
        let shared = self.handle().shared();
        let limits = shared.lock().session.limits().cloned();
        if limits.is_none_or(|limits| limits.wildcard_subscription_available)
            && let Some(marked) = marked(&subscribe)?
        {
            subscribe = subscribe.and(marked, QoS::ExactlyOnce);
        }
        Ok(Responder {
            client: self.clone(),
            stream: self.listen_with(subscribe, shared.inbound)?.acknowledged_by_hand(),
            handler,
            serving: Vec::new(),
            concurrency: 1,
            response_topics: None,
            ended: false,
        })
    }
}

/// Returns the filter of the requests that name their response topic in the topic, if it is another one.
fn marked(subscribe: &Subscribe) -> Result<Option<TopicFilter>, CommandError> {
    let filter = subscribe.subscriptions.iter().map(|it| it.filter.as_str()).next();
    match filter.filter(|filter| !filter.ends_with('#')) {
        Some(filter) => Ok(Some(TopicFilter::new(format!("{filter}/{MARK}/#"))?)),
        None => Ok(None),
    }
}

/// Serves requests: a future that [`Client::respond`] makes.
///
/// It has to be polled for anything to happen. It runs until the client ends or the filter is unsubscribed
/// from, and ends with an error if the server refuses the filter. It counts as a stream: the client goes on
/// while it is there.
///
/// # What becomes of a request
///
/// The handler is called inside [`poll`](Future::poll), and its future is polled there: what blocks belongs into
/// a thread. One request is served at a time, in the order in which they come, unless
/// [`concurrency`](Responder::concurrency) says otherwise; the others wait in the queue of the stream, within
/// the bounds of [`Config::inbound`](crate::Config::inbound).
///
/// A request is acknowledged when the client has accepted the response to be sent, whatever
/// [`manual_ack`](crate::Config::manual_ack) says; if there is no room for it, that is waited for, and if there is no
/// connection and [`Config::outbound`](crate::Config::outbound) lets it not wait in line, that as well. So a
/// request of QoS 1 or 2 that is being served when the program ends, or the connection at QoS 1, comes again. A
/// response that the client does not accept (it breaks a rule, or is too large for the server) is counted in
/// [`Calls::unsent`], and the request is rejected with Implementation specific error: it would fare no better
/// a second time.
///
/// A message without a response topic goes to the handler all the same; what that returns is then dropped, and the
/// message counted in [`Calls::unanswerable`].
///
/// # Cancellation
///
/// It is not cancel-safe: dropping it drops the futures of the handler, rejects the requests that are being
/// served, and then is as dropping its [`Subscription`]. To have them served again later, end the client first.
#[must_use = "no request is served unless it is polled: spawn it"]
pub struct Responder<H, F> {
    client: Client,
    stream: Subscription,
    handler: H,
    serving: Vec<Serving<F>>,
    concurrency: usize,
    response_topics: Option<TopicFilter>,
    /// Whether no more requests come.
    ended: bool,
}

impl<H, F> Responder<H, F> {
    /// Sets how many requests are served at a time; default 1. Zero is as one.
    ///
    /// Responses then leave in the order in which they are ready. All that are being served are polled whenever
    /// one of them has something to do, so this is for tens, not for thousands.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Answers only to response topics that match the filter; requests that name others count as
    /// [unanswerable](Calls::unanswerable).
    ///
    /// Whoever makes a request chooses where this client publishes the response to: use this if the client may
    /// publish to topics to which those that make requests may not.
    pub fn response_topics(mut self, filter: TopicFilter) -> Self {
        self.response_topics = Some(filter);
        self
    }

    /// Returns a future that resolves when the server has answered the SUBSCRIBE: from then on there is somebody
    /// who responds. As [`Subscription::subscribed`].
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let responder = client.respond("ping", |_| async { "pong" })?;
    /// responder.subscribed().await?;
    /// println!("ready");
    /// responder.await?;
    /// # Ok(()) }
    /// ```
    pub fn subscribed(&self) -> Listening {
        self.stream.subscribed()
    }

    /// Returns how many messages were dropped because they came faster than they were served; see
    /// [`Subscription::lagged`].
    pub fn lagged(&self) -> u64 {
        self.stream.lagged()
    }
}

impl<H, F, R> Responder<H, F>
where
    H: FnMut(Request) -> F,
    F: Future<Output = R>,
    R: Into<Response>,
{
    /// Goes on with what is being served; tells whether there is room for more.
    fn serve(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.serving.len();
        self.serving.retain_mut(|serving| serving.poll(&self.client, cx).is_pending());
        self.serving.len() < before
    }

    /// Begins to serve what has come; tells whether there was something.
    fn accept(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while !self.ended && self.serving.len() < self.concurrency {
            let Poll::Ready(message) = Pin::new(&mut self.stream).poll_next(cx) else { break };
            progress = true;
            match message {
                Some(message) => self.begin(message),
                None => self.ended = true,
            }
        }
        progress
    }

    fn begin(&mut self, message: Message) {
        let allowed = self.response_topics.as_ref();
        let (request, mut address) = Request::new(message.packet().clone());
        address = address.filter(|to| allowed.is_none_or(|filter| filter.matches(&to.topic)));
        if address.is_none() {
            count(&self.client, |calls| calls.unanswerable += 1);
        }
        let future = Box::pin((self.handler)(request));
        let claim = Claim(Some(message));
        self.serving.push(Serving { step: Step::Handling(future), address, claim });
    }
}

impl<H, F, R> Future for Responder<H, F>
where
    H: FnMut(Request) -> F,
    F: Future<Output = R>,
    R: Into<Response>,
{
    type Output = Result<(), TokenError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let responder = self.get_mut();
        for _ in 0..ROUNDS {
            let progress = responder.serve(cx) | responder.accept(cx);
            if responder.ended && responder.serving.is_empty() {
                return Poll::Ready(responder.stream.error().map_or(Ok(()), Err));
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

// Nothing of it is ever pinned: futures are boxed.
impl<H, F> Unpin for Responder<H, F> {}

impl<H, F> fmt::Debug for Responder<H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("serving", &self.serving.len())
            .field("concurrency", &self.concurrency)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

fn count(client: &Client, change: impl FnOnce(&mut Calls)) {
    change(&mut client.handle().shared().lock().calling.calls);
}

/// A request that is being served.
struct Serving<F> {
    // Dropped in this order: the handler's future is gone when the request is acknowledged.
    step: Step<F>,
    address: Option<Address>,
    claim: Claim,
}

enum Step<F> {
    Handling(Pin<Box<F>>),
    /// Sends a response, if there is one, when it may be sent.
    Sending(Option<Box<Publish>>, Option<Wait>),
}

/// What a response waits for.
enum Wait {
    Room(Ready),
    Connection(Connecting),
}

impl Wait {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // When the client ends, sending says so.
        match self {
            Wait::Room(ready) => Pin::new(ready).poll(cx).map(drop),
            Wait::Connection(connecting) => Pin::new(connecting).poll(cx).map(drop),
        }
    }
}

impl<F, R> Serving<F>
where
    F: Future<Output = R>,
    R: Into<Response>,
{
    /// Resolves when the request needs nothing more.
    fn poll(&mut self, client: &Client, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let (publish, wait) = match &mut self.step {
                Step::Handling(future) => {
                    let response = ready!(future.as_mut().poll(cx)).into();
                    let publish = self.address.take().and_then(|it| it.publish(response));
                    self.step = Step::Sending(publish.map(Box::new), None);
                    continue;
                }
                Step::Sending(publish, wait) => (publish, wait),
            };
            if let Some(wait) = wait {
                ready!(wait.poll(cx));
            }
            let sent = publish.take().map(|publish| client.send(*publish).map(drop));
            match sent {
                None => self.claim.settle(ReasonCode::SUCCESS),
                Some(Ok(())) => {
                    count(client, |calls| calls.answered += 1);
                    self.claim.settle(ReasonCode::SUCCESS);
                }
                Some(Err(PublishError::Full(back))) => {
                    self.step = Step::Sending(Some(back), Some(Wait::Room(client.ready())));
                    continue;
                }
                Some(Err(PublishError::Offline(back))) => {
                    let wait = Wait::Connection(client.connected());
                    self.step = Step::Sending(Some(back), Some(wait));
                    continue;
                }
                Some(Err(PublishError::Closed(_))) => self.claim.leave(),
                Some(Err(_)) => {
                    count(client, |calls| calls.unsent += 1);
                    self.claim.settle(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR);
                }
            }
            return Poll::Ready(());
        }
    }
}

/// A request that has to be acknowledged: it would hold back what came after it.
struct Claim(Option<Message>);

impl Claim {
    fn settle(&mut self, reason: ReasonCode) {
        if let Some(message) = self.0.take() {
            message.reject(reason);
        }
    }

    /// The client ends: the server has the request, for the next one.
    fn leave(&mut self) {
        self.0 = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.settle(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR);
    }
}

/// Where a response goes, and how.
struct Address {
    topic: TopicName,
    correlation_data: Option<Bytes>,
    qos: QoS,
}

impl Address {
    fn publish(self, response: Response) -> Option<Publish> {
        let Response { payload, qos, properties } = response;
        let mut publish = Publish::new(self.topic, payload?).qos(qos.unwrap_or(self.qos));
        publish.properties = properties;
        if self.correlation_data.is_some() {
            publish.properties.edit().correlation_data = self.correlation_data;
        }
        Some(publish)
    }
}

/// A request that came in, for the handler of a [`Responder`].
#[derive(Clone, Debug)]
pub struct Request {
    packet: PublishPacket,
    /// Where the topic that was asked for ends in the topic of the packet.
    asked: usize,
    response_topic: Option<TopicName>,
}

impl Request {
    fn new(packet: PublishPacket) -> (Request, Option<Address>) {
        let (mut response_topic, mut correlation_data) = (None, None);
        for property in packet.properties() {
            match property {
                Property::ResponseTopic(topic) => response_topic = TopicName::new(topic).ok(),
                Property::CorrelationData(data) => {
                    correlation_data = Some(Bytes::copy_from_slice(data));
                }
                _ => {}
            }
        }
        let mut asked = packet.topic().len();
        if response_topic.is_none()
            && let Some((before, after)) = packet.topic().split_once(&format!("/{MARK}/"))
        {
            asked = before.len();
            response_topic = TopicName::new(after).ok();
        }
        let qos = packet.qos();
        let topic = response_topic.clone();
        let address = topic.map(|topic| Address { topic, correlation_data, qos });
        (Request { packet, asked, response_topic }, address)
    }

    /// Returns the topic that the request was made to; without the response topic, if that is named behind it.
    pub fn topic(&self) -> &str {
        self.packet.topic().get(..self.asked).unwrap_or_default()
    }

    /// Returns the payload as a handle; cloning it copies nothing.
    pub fn payload(&self) -> Bytes {
        self.packet.payload()
    }

    /// Returns the payload.
    pub fn payload_bytes(&self) -> &[u8] {
        self.packet.payload_bytes()
    }

    /// Returns the QoS at which the server sent it.
    pub fn qos(&self) -> QoS {
        self.packet.qos()
    }

    /// Tells whether the server has sent it before, so that it may have been served already (QoS 1).
    pub fn dup(&self) -> bool {
        self.packet.dup()
    }

    /// Returns the properties, in the order in which they stand in the packet.
    pub fn properties(&self) -> Properties<'_> {
        self.packet.properties()
    }

    /// Returns where the response is expected; `None`: nowhere.
    pub fn response_topic(&self) -> Option<&TopicName> {
        self.response_topic.as_ref()
    }

    /// Returns the packet.
    pub fn packet(&self) -> &PublishPacket {
        &self.packet
    }
}

/// What the handler of a [`Responder`] returns, or makes into one: the payload alone mostly does.
///
/// ```
/// use mqtt_async::{PublishProperties, QoS, Response, Text};
///
/// let plain: Response = "21.5".into();
/// let mut properties = PublishProperties::default();
/// properties.edit().content_type = Some(Text::new("application/json")?);
/// let response = Response::new(r#"{"celsius":21.5}"#).qos(QoS::AtLeastOnce).properties(properties);
/// # Ok::<(), mqtt_async::TextError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Response {
    payload: Option<Bytes>,
    qos: Option<QoS>,
    properties: PublishProperties,
}

impl Response {
    /// Returns a response with the QoS of its request, and no properties.
    pub fn new(payload: impl Into<Bytes>) -> Response {
        Response {
            payload: Some(payload.into()),
            qos: None,
            properties: PublishProperties::default(),
        }
    }

    /// Sends nothing: the request is acknowledged, and whoever made it has to do without a response.
    pub fn none() -> Response {
        Response { payload: None, qos: None, properties: PublishProperties::default() }
    }

    /// Sets the QoS.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Response {
        self.qos = Some(qos);
        self
    }

    /// Sets the properties; the Correlation Data is that of the request. MQTT 5.0 only: with MQTT 3.x the
    /// response is not sent.
    #[must_use]
    pub fn properties(mut self, properties: PublishProperties) -> Response {
        self.properties = properties;
        self
    }
}

impl From<Bytes> for Response {
    fn from(payload: Bytes) -> Response {
        Response::new(payload)
    }
}

impl From<Vec<u8>> for Response {
    fn from(payload: Vec<u8>) -> Response {
        Response::new(payload)
    }
}

impl From<String> for Response {
    fn from(payload: String) -> Response {
        Response::new(payload)
    }
}

impl From<&'static str> for Response {
    fn from(payload: &'static str) -> Response {
        Response::new(payload)
    }
}
