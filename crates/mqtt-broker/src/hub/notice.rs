//! What the hooks are told once the lock is open.

use std::sync::Arc;

use mqtt_proto::CloseReason;

use crate::hooks::{ClientInfo, Hooks};

#[derive(Debug)]
pub(crate) enum Notice {
    Connected { client: Arc<ClientInfo>, resumed: bool },
    Disconnected { client: Arc<ClientInfo>, reason: CloseReason },
}

impl Notice {
    /// Tells it. The lock is not held: hooks may call the broker.
    pub(crate) fn tell(&self, hooks: &dyn Hooks) {
        match self {
            Notice::Connected { client, resumed } => hooks.connected(client, *resumed),
            Notice::Disconnected { client, reason } => hooks.disconnected(client, reason),
        }
    }
}
