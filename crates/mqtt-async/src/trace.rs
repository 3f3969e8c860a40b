//! What the driver tells the log of the program: with the feature `tracing`; without it nothing of this is
//! left.
//!
//! No payload, no User Name and no Password is ever part of it. All of it is told outside of the client's
//! lock, because who listens is code of the user.

use mqtt_proto::Version;

use crate::error::Error;
use crate::status::Event;

/// Whether there is anybody to tell.
pub(crate) const ON: bool = cfg!(feature = "tracing");

/// The target of all that is told.
#[cfg(feature = "tracing")]
const TARGET: &str = "mqtt_async";

/// Something to tell.
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "nobody reads it"))]
pub(crate) enum Told<'a> {
    Attempt { version: Version, server: Option<&'a str> },
    Happened(&'a Event),
    Ended(&'a Result<(), Error>),
    DriverDropped,
}

/// The span of a client, in which its driver is polled.
#[derive(Debug)]
pub(crate) struct Trace {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
    /// How many messages had been dropped when that was last told.
    #[cfg(feature = "tracing")]
    dropped: u64,
}

/// Ends the span when it is dropped.
pub(crate) struct Entered {
    #[cfg(feature = "tracing")]
    _span: tracing::span::EnteredSpan,
}

#[cfg(not(feature = "tracing"))]
impl Trace {
    pub(crate) fn new(_: &str) -> Trace {
        Trace {}
    }

    pub(crate) fn enter(&self) -> Entered {
        Entered {}
    }

    pub(crate) fn tell(&self, _: &Told<'_>) {}

    pub(crate) fn dropped(&mut self, _: impl FnOnce() -> u64) {}
}

#[cfg(feature = "tracing")]
impl Trace {
    pub(crate) fn new(client_id: &str) -> Trace {
        let empty = tracing::field::Empty;
        let span = tracing::info_span!(target: TARGET, "mqtt", client_id = empty);
        if !client_id.is_empty() {
            span.record("client_id", client_id);
        }
        Trace { span, dropped: 0 }
    }

    /// Enters the span, until what is returned is dropped.
    pub(crate) fn enter(&self) -> Entered {
        Entered { _span: self.span.clone().entered() }
    }

    pub(crate) fn tell(&self, told: &Told<'_>) {
        match told {
            Told::Attempt { version, server } => {
                tracing::debug!(target: TARGET, %version, server, "connecting");
            }
            Told::Happened(event) => self.happened(event),
            Told::Ended(Ok(())) => tracing::info!(target: TARGET, "ended"),
            Told::Ended(Err(error)) => tracing::error!(target: TARGET, %error, "ended"),
            Told::DriverDropped => tracing::info!(target: TARGET, "the driver was dropped"),
        }
    }

    fn happened(&self, event: &Event) {
        match event {
            Event::Connected(connected) => {
                if let Some(assigned) = &connected.connack.assigned_client_identifier {
                    self.span.record("client_id", assigned.as_str());
                }
                tracing::info!(target: TARGET, resumed = connected.resumed, "connected");
            }
            Event::Disconnected { error, retry_in } => {
                let retry_in = retry_in.map(tracing::field::debug);
                tracing::warn!(target: TARGET, %error, retry_in, "connection lost");
            }
            Event::AttemptFailed { error, failed, retry_in } => {
                let retry_in = retry_in.map(tracing::field::debug);
                tracing::warn!(target: TARGET, %error, failed, retry_in, "cannot connect");
            }
            Event::Redirected { servers, permanent } => {
                tracing::info!(target: TARGET, ?servers, permanent, "sent to another server");
            }
            Event::Resubscribed { results } => {
                for (filter, reason) in results.iter() {
                    let filter = filter.as_str();
                    if reason.is_error() {
                        tracing::warn!(target: TARGET, filter, %reason, "cannot subscribe anew");
                    } else {
                        tracing::debug!(target: TARGET, filter, %reason, "subscribed anew");
                    }
                }
            }
        }
    }

    /// Tells that messages were dropped, if there are more of them than the last time: once for all that a
    /// flood has dropped meanwhile. `count` is not called if nobody listens.
    pub(crate) fn dropped(&mut self, count: impl FnOnce() -> u64) {
        if !tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
            return;
        }
        let total = count();
        let messages = total.saturating_sub(self.dropped);
        self.dropped = total;
        if messages > 0 {
            tracing::debug!(target: TARGET, messages, total, "messages dropped by policy");
        }
    }
}
