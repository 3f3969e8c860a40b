//! The end of a client that wants to know what is left.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mqtt_proto::{Client as ClientRole, Publish, QoS, Session};

use crate::error::TokenError;
use crate::shared::{End, Shared};
use crate::status::Drops;
use crate::tokens::Watch;

/// What was left when a client ended; see [`Client::shutdown`](crate::Client::shutdown).
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// The messages that were never sent, in their order.
    ///
    /// Of a durable client these are only those of QoS 0, unless the store has failed or the driver was
    /// dropped: then it is all of them, because the store may not have the last ones.
    pub unsent: Vec<Publish>,
    /// How many messages were never sent and are in the store of a durable client: the next run sends them.
    pub kept: usize,
    /// How many messages were sent and have no final answer: the server has them, or not. The next run of a
    /// durable client goes on with them.
    pub unacked: usize,
    /// How many messages were dropped unsent in the life of the client, by its policies.
    pub dropped: Drops,
    /// How many messages of QoS 0 were lost with a connection before the transport had taken them.
    pub unwritten: u64,
    /// How many messages came in and wait to be taken; they still can be.
    pub unconsumed: usize,
    /// How the client ended: an error if the driver had given up or was dropped.
    pub result: Result<(), TokenError>,
}

/// Resolves with what is left when the client has ended.
///
/// It is cancel-safe, and dropping it changes nothing: the client ends all the same. If there are several,
/// one of them gets the messages.
#[derive(Debug)]
pub struct Shutdown(Watch);

impl Shutdown {
    pub(crate) fn new(shared: &Arc<Shared>) -> Shutdown {
        Shutdown(Watch::new(shared))
    }
}

impl Future for Shutdown {
    type Output = Report;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Report> {
        let poll = self.0.poll(cx, |state| {
            let end = state.end.as_ref()?;
            let keeps = state.session.config().journal && end.is_stored();
            let result = match end {
                End::Closed => Ok(()),
                end => Err(end.token_error()),
            };
            let counts = (state.counts.dropped, state.counts.unwritten);
            Some((state.take_session(), keeps, counts, state.router.len(), result))
        });
        // The messages are the user's, so this stands behind the lock.
        poll.map(|(session, keeps, (dropped, unwritten), unconsumed, result)| {
            let (mut unsent, unacked) = take_unsent(session);
            let all = unsent.len();
            if keeps {
                unsent.retain(|publish| publish.qos == QoS::AtMostOnce);
            }
            let kept = all - unsent.len();
            Report { unsent, kept, unacked, dropped, unwritten, unconsumed, result }
        })
    }
}

/// Returns the messages that were never sent, and how many others there are.
fn take_unsent(session: Session<ClientRole>) -> (Vec<Publish>, usize) {
    let queued = session.stats().queued;
    let config = session.config().clone();
    let state = session.into_state();
    let tokens = state.tokens();
    let mut session = Session::<ClientRole>::with_state(config, state);
    // Those that wait stand last, in their order: each is found at once.
    let waiting = tokens.iter().skip(tokens.len().saturating_sub(queued));
    let unsent: Vec<Publish> = waiting.filter_map(|token| session.cancel(*token)).collect();
    let unacked = tokens.len() - unsent.len();
    (unsent, unacked)
}
