//! What a client tells about its store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mqtt_proto::{Publish, StoreSeq};

use crate::error::TokenError;
use crate::shared::Shared;
use crate::tokens::{Publishing, Watch};

/// A message that an earlier run of the program has accepted and that has no final answer yet; see
/// [`Client::durable`](crate::Client::durable).
#[derive(Debug)]
#[non_exhaustive]
pub struct Recovered {
    /// Resolves when it has its final answer, as for a message that this run has accepted. Dropping it
    /// changes nothing.
    pub publishing: Publishing,
    /// The message; `None` if the server has taken it (QoS 2), and only the end of the exchange is missing.
    pub message: Option<Publish>,
}

/// Resolves when what was accepted before it was made is durable; see
/// [`Client::stored`](crate::Client::stored).
///
/// It fails when the client ends before that: then the store has failed, or the driver was dropped. It is
/// cancel-safe.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Stored {
    watch: Watch,
    upto: StoreSeq,
}

impl Stored {
    pub(crate) fn new(shared: &Arc<Shared>, upto: StoreSeq) -> Stored {
        Stored { watch: Watch::new(shared), upto }
    }
}

impl Future for Stored {
    type Output = Result<(), TokenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Stored { watch, upto } = &mut *self;
        watch.poll(cx, |state| {
            if state.session.is_stored(*upto) {
                return Some(Ok(()));
            }
            let Some(end) = &state.end else {
                state.store_watched = true;
                return None;
            };
            // A report may have taken the session since.
            Some(if end.is_stored() { Ok(()) } else { Err(end.token_error()) })
        })
    }
}
