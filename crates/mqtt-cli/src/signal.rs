//! Ctrl-C.

use std::future::Future;

use smol::stream::StreamExt;

use crate::failure::Failure;

/// Waits for the first Ctrl-C, or another polite request to end. The second one ends the program at once.
pub(crate) struct Interrupts(async_signal::Signals);

impl Interrupts {
    pub(crate) fn new() -> Result<Interrupts, Failure> {
        #[cfg(unix)]
        let signals = [async_signal::Signal::Int, async_signal::Signal::Term];
        #[cfg(not(unix))]
        let signals = [async_signal::Signal::Int];
        async_signal::Signals::new(signals).map(Interrupts).map_err(Failure::other)
    }

    pub(crate) async fn next(&mut self) {
        // An error, or no more signals: then there is nothing to be interrupted by.
        if !matches!(self.0.next().await, Some(Ok(_))) {
            std::future::pending::<()>().await;
        }
    }

    /// Runs something to its end, unless there is a Ctrl-C before: then it is dropped.
    pub(crate) async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let interrupted = async {
            self.next().await;
            None
        };
        smol::future::or(async { Some(work.await) }, interrupted).await
    }
}
