//! Listening on TCP.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use async_io::{Async, Timer};

use super::Broker;
use crate::error::ListenError;
use crate::hooks::Peer;

/// How long to wait when a connection cannot be accepted, as when there are no file descriptors left:
/// it stays acceptable, and would be tried again and again at once.
const PAUSE: Duration = Duration::from_millis(50);

impl Broker {
    /// Listens on a TCP address, and returns it; port 0 lets the system choose one.
    ///
    /// Clients are served as soon as the [`Driver`](crate::Driver) runs. The sockets are those of
    /// `async-io`, which work under any executor. A host name is resolved here and now, and blocks.
    ///
    /// # Errors
    ///
    /// [`ListenError::Bind`] if the address cannot be resolved or not be listened on, and
    /// [`ListenError::Stopped`] after [`shutdown`](Broker::shutdown).
    pub fn listen(&self, address: impl ToSocketAddrs) -> Result<SocketAddr, ListenError> {
        let executor = self.executor.upgrade().ok_or(ListenError::Stopped)?;
        if self.shared.with(|hub| hub.is_stopping()) {
            return Err(ListenError::Stopped);
        }
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let listener = Async::new(listener)?;
        executor.spawn(self.clone().accept(listener)).detach();
        Ok(address)
    }

    async fn accept(self, listener: Async<TcpListener>) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    // Acknowledgements are small and must not wait for each other; without it they
                    // are late, but correct.
                    let _ = stream.get_ref().set_nodelay(true);
                    self.attach_from(stream, Peer::from_address(address));
                }
                Err(_) => drop(Timer::after(PAUSE).await),
            }
        }
    }
}
