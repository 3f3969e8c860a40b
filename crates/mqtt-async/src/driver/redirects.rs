//! Where the next connection goes to: the own server, or where another one, or the hook, sends the client.

use std::sync::Arc;
use std::time::Duration;

use super::{Driver, Flow};
use crate::connect::Connector;
use crate::error::Error;
use crate::redirect::RedirectError;
use crate::time::Timer;

impl<C: Connector, T: Timer> Driver<C, T> {
    /// Takes in that a connection was lost, or could not be made; returns the servers to go to if it was
    /// a redirect that is followed.
    pub(super) fn follow(
        &mut self,
        error: &Error,
        stood: Option<Duration>,
    ) -> Result<Option<Arc<[Arc<str>]>>, RedirectError> {
        if let Some(stood) = stood {
            let backoff = self.limits.reconnect.unwrap_or_default();
            self.route.left(stood >= backoff.stable_after);
        }
        let followed = match error {
            Error::Refused(it) => self.route.follow(it.reason, it.server_reference.as_ref()),
            Error::Disconnected(it) => self.route.follow(it.reason, it.server_reference.as_ref()),
            _ => Ok(None),
        };
        if stood.is_none() && !matches!(followed, Ok(Some(_))) {
            self.route.failed();
        }
        followed
    }

    /// Connects to the server of that name; `None`: to whichever the connector chooses.
    pub(super) fn dial_to(&mut self, server: Option<String>) -> Flow {
        let server = if server.as_deref() != self.route.target().map(|target| &**target) {
            // By the choice of the application. Another time, the connector would not know any more in which
            // way the redirect was meant.
            self.route.leave();
            if let Some(server) = &server
                && let Err(error) = self.connector.select(server)
            {
                return self.lost(Error::Connect(Arc::new(error)), None);
            }
            server.map(Arc::from)
        } else {
            match self.redirect() {
                Ok(target) => target,
                Err(error) => return self.lost(Error::Redirect(Box::new(error)), None),
            }
        };
        let before = {
            let mut state = self.shared.lock();
            if state.server != server {
                state.log.change();
            }
            std::mem::replace(&mut state.server, server)
        };
        drop(before);
        self.tell();
        self.dial()
    }

    /// Goes to the first of the servers that a redirect has named and that the connector knows, if there is
    /// a redirect.
    fn redirect(&mut self) -> Result<Option<Arc<str>>, RedirectError> {
        while let Some(target) = self.route.target().cloned() {
            if self.connector.redirect(&target).is_ok() {
                return Ok(Some(target));
            }
            if let Some(error) = self.route.unknown() {
                return Err(error);
            }
        }
        Ok(None)
    }
}
