//! What an application may decide each time the driver connects.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use mqtt_proto::{Connect, Version};

use crate::auth::Authenticate;
use crate::error::Error;

/// An attempt to connect that is about to be made; see [`Driver::before_connect`](crate::Driver::before_connect).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// How many attempts have failed since the server last accepted one.
    pub failed: u32,
    /// Why the last connection ended or could not be made.
    pub last_error: Option<Error>,
    /// The version to speak; a change of it stays.
    ///
    /// Messages that wait and cannot be sent with the new one fail. Properties are left out in MQTT 3.x.
    pub version: Version,
    /// The CONNECT to send; what is changed here stays for the attempts after this one.
    ///
    /// Another Client Identifier is another session of the server: messages in flight are then in doubt.
    pub connect: Connect,
    /// The server to connect to; `None`: whatever the connector would do. See
    /// [`Connector::select`](crate::Connector::select).
    ///
    /// A redirect that is followed stands here already; with another server it is forgotten. See
    /// [`Redirects`](crate::Redirects).
    pub server: Option<String>,
}

/// What a hook may fail with: any error.
pub type HookError = Box<dyn StdError + Send + Sync>;

pub(crate) type Hooked = Pin<Box<dyn Future<Output = Result<Attempt, HookError>> + Send>>;
type BeforeConnect = Box<dyn FnMut(Attempt) -> Hooked + Send>;
type ReconnectIf = Box<dyn FnMut(&Error, u32) -> bool + Send>;
type MakeAuthenticator = Box<dyn FnMut() -> Box<dyn Authenticate> + Send>;

#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) before_connect: Option<BeforeConnect>,
    pub(crate) reconnect_if: Option<ReconnectIf>,
    pub(crate) authenticator: Option<MakeAuthenticator>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("before_connect", &self.before_connect.is_some())
            .field("reconnect_if", &self.reconnect_if.is_some())
            .field("authenticator", &self.authenticator.is_some())
            .finish()
    }
}
