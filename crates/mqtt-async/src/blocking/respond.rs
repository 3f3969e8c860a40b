//! Serving requests in a thread.

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;

use mqtt_proto::TopicFilter;

use super::receive::Token;
use super::thread::{DriverThread, block_on};
use crate::client::{Client, IntoTopicFilter};
use crate::error::{CommandError, TokenError};
use crate::message::Listening;
use crate::request::{self, Request, Response};

/// Answers as it is called.
type Handler<R> = Box<dyn FnMut(Request) -> Ready<R> + Send>;

/// Serves requests; [`Client::respond`](super::Client::respond) makes it.
///
/// [`Responder`](crate::Responder) says what becomes of a request.
#[must_use = "no request is served without `wait`"]
pub struct Responder<R> {
    // Dropped in this order: the thread may end when the stream is gone.
    responder: request::Responder<Handler<R>, Ready<R>>,
    _thread: Arc<DriverThread>,
}

impl<R: Into<Response> + 'static> Responder<R> {
    pub(super) fn new(
        client: &Client,
        thread: &Arc<DriverThread>,
        filter: impl IntoTopicFilter,
        mut handler: impl FnMut(Request) -> R + Send + 'static,
    ) -> Result<Responder<R>, CommandError> {
        let handler: Handler<R> = Box::new(move |request| ready(handler(request)));
        let responder = client.respond(filter, handler)?;
        Ok(Responder { responder, _thread: Arc::clone(thread) })
    }

    /// Answers only to response topics that match the filter; as
    /// [`Responder::response_topics`](crate::Responder::response_topics).
    pub fn response_topics(mut self, filter: TopicFilter) -> Self {
        self.responder = self.responder.response_topics(filter);
        self
    }

    /// Returns a token that resolves when the server has answered the SUBSCRIBE; as
    /// [`Responder::subscribed`](crate::Responder::subscribed).
    pub fn subscribed(&self) -> Token<Listening> {
        Token::new(self.responder.subscribed())
    }

    /// Serves requests, in the thread that calls it, until the client ends or the filter is unsubscribed from.
    ///
    /// # Errors
    ///
    /// If the server refuses the filter.
    pub fn wait(mut self) -> Result<(), TokenError> {
        block_on(&mut self.responder)
    }
}

impl<R> fmt::Debug for Responder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.responder.fmt(f)
    }
}
