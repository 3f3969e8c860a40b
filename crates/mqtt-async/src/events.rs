//! Streams of what a client tells about itself.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use crate::shared::{Key, Look, Shared};
use crate::status::{Event, Status};

/// What happens to the connection, in its order: a stream.
///
/// It begins with what happens after it was made, and ends when the client has ended. At most 64 events
/// wait; older ones are dropped and counted. It does not keep the client from ending.
///
/// ```
/// # async fn example(client: mqtt_async::Client) {
/// use mqtt_async::Event;
///
/// let mut events = client.events();
/// while let Some(event) = events.next().await {
///     match event {
///         Event::Connected(connected) => println!("connected, resumed: {}", connected.resumed),
///         Event::Disconnected { error, .. } => println!("{error}"),
///         other => println!("{other:?}"),
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
    key: Key,
    cursor: u64,
    lagged: u64,
}

impl Events {
    pub(crate) fn new(shared: &Arc<Shared>) -> Events {
        let cursor = shared.lock().log.enter();
        Events { shared: Arc::clone(shared), key: Key::default(), cursor, lagged: 0 }
    }

    /// Waits for the next event; `None` is the end. It is cancel-safe.
    #[allow(clippy::should_implement_trait, reason = "the name that every stream has for it")]
    pub fn next(&mut self) -> impl Future<Output = Option<Event>> + Send + Unpin + '_ {
        poll_fn(|cx| self.poll(cx))
    }

    /// Returns the next event, if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.shared.lock().log.read(&mut self.cursor, &mut self.lagged)
    }

    /// Returns how many events were dropped because they were not taken in time.
    pub fn lagged(&self) -> u64 {
        self.lagged
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let Events { shared, key, cursor, lagged } = self;
        shared.poll(cx, |state, waker| {
            if let Some(event) = state.log.read(cursor, lagged) {
                Look::Ready(Some(event))
            } else if state.end.is_some() {
                Look::Ready(None)
            } else {
                state.log.watchers.wait(key, waker, cx)
            }
        })
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let left = {
            let mut state = self.shared.lock();
            (state.log.watchers.remove(&self.key), state.log.leave())
        };
        drop(left);
    }
}

/// The status of a client whenever it has changed: a stream.
///
/// It begins with the present status. Only the latest one is there to be taken: whoever is slow misses
/// some in between, and never the last. What counts messages ([`Status::lagged`], [`Status::inbound`]) is
/// no change. The stream ends behind the status of [`Phase::Ended`](crate::Phase::Ended). It does not keep
/// the client from ending.
///
/// ```
/// # async fn example(client: mqtt_async::Client) {
/// let mut changes = client.status_changes();
/// while let Some(status) = changes.next().await {
///     println!("{:?}", status.phase);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct StatusChanges {
    shared: Arc<Shared>,
    key: Key,
    /// The version that was taken last.
    seen: Option<u64>,
}

impl StatusChanges {
    pub(crate) fn new(shared: &Arc<Shared>) -> StatusChanges {
        StatusChanges { shared: Arc::clone(shared), key: Key::default(), seen: None }
    }

    /// Waits for another status than the last one; `None` is the end. It is cancel-safe.
    #[allow(clippy::should_implement_trait, reason = "the name that every stream has for it")]
    pub fn next(&mut self) -> impl Future<Output = Option<Status>> + Send + Unpin + '_ {
        poll_fn(|cx| self.poll(cx))
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Status>> {
        let StatusChanges { shared, key, seen } = self;
        shared.poll(cx, |state, waker| {
            let version = state.log.version();
            if *seen != Some(version) {
                *seen = Some(version);
                Look::Ready(Some(state.status()))
            } else if state.end.is_some() {
                Look::Ready(None)
            } else {
                state.log.watchers.wait(key, waker, cx)
            }
        })
    }
}

impl Stream for StatusChanges {
    type Item = Status;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Status>> {
        self.poll(cx)
    }
}

impl Drop for StatusChanges {
    fn drop(&mut self) {
        let waker = self.shared.lock().log.watchers.remove(&self.key);
        drop(waker);
    }
}
