//! DISCONNECT and AUTH: MQTT 5.0 sections 3.14 and 3.15.

use core::fmt;

use bytes::Bytes;

use super::connect::hidden;
use super::{AckProperties, UserProperties};
use crate::reason::ReasonCode;
use crate::text::Text;

/// The content of a DISCONNECT packet.
///
/// In MQTT 3.x only the client sends it, and it has no content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disconnect {
    /// Why the connection ends.
    pub reason: ReasonCode,
    /// How long the session outlives the connection, in seconds; from a client only.
    pub session_expiry_interval: Option<u32>,
    /// Another server to use; from a server only.
    pub server_reference: Option<Text>,
    /// Reason String and User Properties.
    pub properties: AckProperties,
}

impl Disconnect {
    /// Returns a DISCONNECT with that reason and nothing else.
    pub const fn new(reason: ReasonCode) -> Disconnect {
        Disconnect {
            reason,
            session_expiry_interval: None,
            server_reference: None,
            properties: AckProperties::NONE,
        }
    }
}

/// The content of an AUTH packet, one step of an enhanced authentication: MQTT 5.0 only.
///
/// An AUTH of Remaining Length 0 means Success without properties (section 3.15.2.1), although the
/// Authentication Method is otherwise required (section 3.15.2.2.2): this is the one form in which
/// `authentication_method` is `None`. `Debug` does not show the data.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// Success, Continue authentication or Re-authenticate.
    pub reason: ReasonCode,
    /// The name of the method, the same as in CONNECT.
    pub authentication_method: Option<Text>,
    /// What that method wants to say.
    pub authentication_data: Option<Bytes>,
    /// Text for a human who looks for a fault.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("reason", &self.reason)
            .field("authentication_method", &self.authentication_method)
            .field("authentication_data", &hidden(self.authentication_data.is_some()))
            .field("reason_string", &self.reason_string)
            .field("user_properties", &self.user_properties)
            .finish()
    }
}
