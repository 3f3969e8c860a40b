//! Enhanced authentication, as an application takes part in it: MQTT 5.0 section 4.12.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::hooks::HookError;

/// The client's side of an enhanced authentication: one exchange with the server.
///
/// [`Driver::authenticator`](crate::Driver::authenticator) makes one for each attempt to connect, and for each
/// [`reauthenticate`](crate::Client::reauthenticate): nothing of an exchange that failed lives on. Its methods
/// are called in this order, one at a time: `start` once, `answer` as often as the server asks (not at all,
/// too), `finish` once, if the server accepts.
///
/// Their futures run inside the driver. While one is not done before the connection stands, nothing of this
/// client goes on; during a later authentication, messages flow. `start` has
/// [`connect_timeout`](crate::Config::connect_timeout), together with the hook
/// [`before_connect`](crate::Driver::before_connect); the others have what is left of
/// [`ClientConfig::connect_timeout`](crate::ClientConfig::connect_timeout), which begins with each step of the
/// server. A future is dropped when its time is up, when the connection is lost, or when the client is closed.
///
/// ```
/// use bytes::Bytes;
/// use mqtt_async::{Authenticator, HookError};
/// # fn digest(key: &str, text: &[u8]) -> Vec<u8> { [key.as_bytes(), text].concat() }
/// # fn random() -> Vec<u8> { b"nonce".to_vec() }
///
/// /// Both sides show that they know the key; nobody says it. A toy: take a method that is a standard.
/// struct Handshake {
///     key: String,
///     nonce: Vec<u8>,
///     proof: Option<Vec<u8>>,
/// }
///
/// impl Authenticator for Handshake {
///     fn method(&self) -> &str {
///         "EXAMPLE-1"
///     }
///
///     async fn start(&mut self) -> Result<Option<Bytes>, HookError> {
///         self.nonce = random();
///         Ok(Some(self.nonce.clone().into()))
///     }
///
///     async fn answer(&mut self, challenge: Option<Bytes>) -> Result<Option<Bytes>, HookError> {
///         let challenge = challenge.ok_or("the server asks for nothing")?;
///         if !challenge.starts_with(&self.nonce) {
///             return Err("that is no answer to what this side said".into());
///         }
///         self.proof = Some(digest(&self.key, b"server"));
///         Ok(Some(digest(&self.key, &challenge).into()))
///     }
///
///     async fn finish(&mut self, data: Option<Bytes>) -> Result<(), HookError> {
///         // Also when the server has asked nothing before it accepts.
///         if self.proof.is_none() || data.as_deref() != self.proof.as_deref() {
///             return Err("the server does not know the key".into());
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Authenticator: Send + 'static {
    /// Returns the name of the method, which goes with each step.
    fn method(&self) -> &str;

    /// Returns what to send first: the Authentication Data of CONNECT, or of the AUTH that begins a later
    /// authentication. `None`: no such property.
    ///
    /// # Errors
    ///
    /// Any. The attempt fails with [`Error::Authentication`](crate::Error::Authentication), and the driver
    /// tries again; a later authentication comes to nothing, and its connection stands.
    fn start(&mut self) -> impl Future<Output = Result<Option<Bytes>, HookError>> + Send;

    /// Returns the answer to what the server has asked with AUTH.
    ///
    /// # Errors
    ///
    /// Any. The connection ends with [`Error::Authentication`](crate::Error::Authentication), and the driver
    /// with it: see [`Error::is_retryable`](crate::Error::is_retryable).
    fn answer(
        &mut self,
        challenge: Option<Bytes>,
    ) -> impl Future<Output = Result<Option<Bytes>, HookError>> + Send;

    /// Looks at what the server says as it accepts, in CONNACK or in the last AUTH: its proof, if the method
    /// has one.
    ///
    /// Until this has returned `Ok`, the connection is not used: nothing is sent on it, and messages that
    /// came with CONNACK are not looked at. It may come without any [`answer`](Authenticator::answer) before: a
    /// server that leaves out the steps that it has to prove itself in must not get away with it.
    ///
    /// # Errors
    ///
    /// Any, to refuse the server, as with [`answer`](Authenticator::answer). It is told with a DISCONNECT of
    /// 0x80, and so publishes the Will.
    fn finish(&mut self, data: Option<Bytes>)
    -> impl Future<Output = Result<(), HookError>> + Send;
}

/// What an authenticator is to do.
pub(crate) enum Task {
    Start,
    Answer(Option<Bytes>),
    Finish(Option<Bytes>),
}

/// An authenticator at work; it comes back with what it says.
pub(crate) type Working =
    Pin<Box<dyn Future<Output = (Box<dyn Authenticate>, Result<Option<Bytes>, HookError>)> + Send>>;

/// An [`Authenticator`] of any type.
pub(crate) trait Authenticate: Send {
    fn name(&self) -> &str;

    fn work(self: Box<Self>, task: Task) -> Working;
}

impl<A: Authenticator> Authenticate for A {
    fn name(&self) -> &str {
        self.method()
    }

    fn work(mut self: Box<Self>, task: Task) -> Working {
        Box::pin(async move {
            let result = match task {
                Task::Start => self.start().await,
                Task::Answer(challenge) => self.answer(challenge).await,
                Task::Finish(data) => self.finish(data).await.map(|()| None),
            };
            (self as Box<dyn Authenticate>, result)
        })
    }
}
