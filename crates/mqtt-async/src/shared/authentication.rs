//! What commands and the driver tell each other about enhanced authentication.

use std::sync::{Arc, OnceLock};

use mqtt_proto::Auth;

use super::State;
use crate::error::{CommandError, TokenError};

/// What a re-authentication came to, once it has.
pub(crate) type Outcome = OnceLock<Result<(), TokenError>>;

#[derive(Debug, Default)]
pub(crate) struct Authentication {
    /// Whether the driver has an authenticator.
    pub(crate) possible: bool,
    /// The re-authentication that is asked for or under way.
    outcome: Option<Arc<Outcome>>,
    /// Whether the driver has still to begin it.
    pub(crate) wanted: bool,
    /// What the server has sent, for the driver. There is one at most: the session sees to it that the two
    /// sides take turns.
    pub(crate) step: Option<Box<Auth>>,
}

impl Authentication {
    pub(crate) fn is_busy(&self) -> bool {
        self.outcome.is_some()
    }

    /// Ends the re-authentication, if there is one. What is returned, or left of the result, is to be dropped
    /// outside of the lock.
    #[must_use]
    pub(crate) fn resolve(
        &mut self,
        result: &mut Option<Result<(), TokenError>>,
    ) -> Option<Arc<Outcome>> {
        self.wanted = false;
        let outcome = self.outcome.take()?;
        if let Some(result) = result.take() {
            // It was not set before: it is taken out as it is set.
            let _ = outcome.set(result);
        }
        Some(outcome)
    }
}

impl State {
    pub(crate) fn reauthenticate(&mut self) -> Result<Arc<Outcome>, CommandError> {
        if self.is_closing() {
            return Err(CommandError::Closed);
        }
        if !self.authentication.possible {
            return Err(CommandError::NotSupported("an authenticator (`Driver::authenticator`)"));
        }
        if self.connected.is_none() {
            return Err(CommandError::NotConnected);
        }
        if self.authentication.is_busy() {
            return Err(CommandError::Unexpected("a re-authentication is under way already"));
        }
        let outcome = Arc::new(Outcome::new());
        self.authentication.outcome = Some(Arc::clone(&outcome));
        self.authentication.wanted = true;
        Ok(outcome)
    }
}
