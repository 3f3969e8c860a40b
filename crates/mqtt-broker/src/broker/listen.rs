//! Listening on sockets of `async-io`.

use std::future::Future;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_io::{Async, Timer};
use mqtt_async::Socket;

use super::Broker;
use crate::error::ListenError;
use crate::hooks::Peer;
use crate::layers::Layers;

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
        self.listen_with(address, Layers::new())
    }

    /// Listens on a TCP address for clients that come through layers, such as TLS and WebSocket.
    ///
    /// As [`listen`](Broker::listen), and [`attach_with`](Broker::attach_with) for each client.
    ///
    /// # Errors
    ///
    /// As [`listen`](Broker::listen).
    pub fn listen_with(
        &self,
        address: impl ToSocketAddrs,
        layers: Layers,
    ) -> Result<SocketAddr, ListenError> {
        self.check_running()?;
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let listener = Async::new(listener)?;
        self.spawn(self.clone().accept_tcp(listener, layers))?;
        Ok(address)
    }

    /// Listens on a Unix socket, which is made here and removed when the broker ends.
    ///
    /// As [`listen`](Broker::listen). Who may connect is up to the permissions of the folder.
    ///
    /// # Errors
    ///
    /// [`ListenError::Bind`] if the path cannot be listened on, as when there is something already: a socket
    /// that a program has left behind is not removed, because it may be in use. [`ListenError::Stopped`]
    /// after [`shutdown`](Broker::shutdown).
    #[cfg(unix)]
    pub fn listen_unix(&self, path: impl AsRef<Path>) -> Result<(), ListenError> {
        self.listen_unix_with(path, Layers::new())
    }

    /// Listens on a Unix socket for clients that come through layers, such as WebSocket from a web server on the
    /// same machine.
    ///
    /// As [`listen_unix`](Broker::listen_unix), and [`attach_with`](Broker::attach_with) for each client.
    ///
    /// # Errors
    ///
    /// As [`listen_unix`](Broker::listen_unix).
    #[cfg(unix)]
    pub fn listen_unix_with(
        &self,
        path: impl AsRef<Path>,
        layers: Layers,
    ) -> Result<(), ListenError> {
        self.check_running()?;
        let listener = UnixListener::bind(&path)?;
        let file = SocketFile(path.as_ref().to_owned());
        let listener = Async::new(listener)?;
        self.spawn(self.clone().accept_unix(listener, file, layers))
    }

    fn check_running(&self) -> Result<(), ListenError> {
        let stopped = self.executor.strong_count() == 0;
        if stopped || self.shared.with(|hub| hub.is_stopping()) {
            return Err(ListenError::Stopped);
        }
        Ok(())
    }

    fn spawn(&self, accept: impl Future<Output = ()> + Send + 'static) -> Result<(), ListenError> {
        let executor = self.executor.upgrade().ok_or(ListenError::Stopped)?;
        executor.spawn(accept).detach();
        Ok(())
    }

    async fn accept_tcp(self, listener: Async<TcpListener>, layers: Layers) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    // Acknowledgements are small and must not wait for each other; without it they
                    // are late, but correct.
                    let _ = stream.get_ref().set_nodelay(true);
                    self.attach_with(Socket::new(stream), Peer::from_address(address), &layers);
                }
                Err(_) => drop(Timer::after(PAUSE).await),
            }
        }
    }

    #[cfg(unix)]
    async fn accept_unix(self, listener: Async<UnixListener>, _file: SocketFile, layers: Layers) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    self.attach_with(Socket::new(stream), Peer::default(), &layers);
                }
                Err(_) => drop(Timer::after(PAUSE).await),
            }
        }
    }
}

/// The file of a Unix socket, which is removed with what listens on it.
#[cfg(unix)]
struct SocketFile(PathBuf);

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        // If it is gone already, so much the better.
        let _ = std::fs::remove_file(&self.0);
    }
}
