//! What is set on a TCP socket, and how it connects.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// What to set on a TCP socket: for [`Tcp`](crate::Tcp) and `TokioTcp`.
///
/// ```
/// # #[cfg(feature = "async-io")]
/// # fn example() {
/// use std::time::Duration;
/// use mqtt_async::{Tcp, TcpOptions};
///
/// let options = TcpOptions::new()
///     .keepalive(Duration::from_secs(60))
///     .bind(([192, 0, 2, 7], 0).into())
///     .configure(|socket, _| socket2::SockRef::from(socket).set_send_buffer_size(16 * 1024));
/// let tcp = Tcp::new("mqtt.example.com", 1883).options(options);
/// # }
/// ```
#[derive(Clone)]
pub struct TcpOptions {
    nodelay: bool,
    /// Apart, because each driver holds it and few set it.
    more: Option<Box<More>>,
}

#[derive(Clone)]
struct More {
    keepalive: Option<Duration>,
    local: Option<SocketAddr>,
    device: Option<String>,
    hook: Option<Hook>,
}

type Hook = Arc<dyn Fn(&TcpStream, SocketAddr) -> io::Result<()> + Send + Sync>;

impl More {
    const NONE: More = More { keepalive: None, local: None, device: None, hook: None };
}

impl TcpOptions {
    /// Returns the defaults: `TCP_NODELAY`, and else what the system does.
    pub fn new() -> TcpOptions {
        TcpOptions { nodelay: true, more: None }
    }

    /// Sets `TCP_NODELAY`; default `true`: the driver gathers what is ready itself, and what it then writes
    /// should not wait.
    #[must_use]
    pub fn nodelay(mut self, nodelay: bool) -> TcpOptions {
        self.nodelay = nodelay;
        self
    }

    /// Has the system probe a connection that was idle for that long: TCP keep-alive.
    ///
    /// The Keep Alive of MQTT reaches the server itself. This one is for what stands between, and forgets
    /// connections that are silent; or for a client without the other.
    #[must_use]
    pub fn keepalive(mut self, idle: Duration) -> TcpOptions {
        self.more().keepalive = Some(idle);
        self
    }

    /// Connects from this address. Port 0 is any; another one may still be in use from the connection before.
    ///
    /// A server has to have an address of the same family; its others are left out.
    #[must_use]
    pub fn bind(mut self, local: SocketAddr) -> TcpOptions {
        self.more().local = Some(local);
        self
    }

    /// Connects through this device, such as `eth0`: `SO_BINDTODEVICE`. Kernels before Linux 5.7 want the
    /// privilege `CAP_NET_RAW` for it.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
    #[must_use]
    pub fn bind_device(mut self, device: impl Into<String>) -> TcpOptions {
        self.more().device = Some(device.into());
        self
    }

    /// Sets whatever else, on each socket before it connects to the address that is told.
    ///
    /// The socket is one for crates like `socket2`, which set options by its descriptor. It is in
    /// non-blocking mode, and has to stay so. An error ends the attempt at that address.
    #[must_use]
    pub fn configure(
        mut self,
        hook: impl Fn(&TcpStream, SocketAddr) -> io::Result<()> + Send + Sync + 'static,
    ) -> TcpOptions {
        self.more().hook = Some(Arc::new(hook));
        self
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_with(|| Box::new(More::NONE))
    }

    /// Returns those of the addresses of a host that such a socket can reach.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub(super) fn reachable(&self, mut addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        let none = |what| Err(io::Error::new(io::ErrorKind::NotFound, what));
        if addresses.is_empty() {
            return none("the host name has no address");
        }
        if let Some(local) = self.more.as_ref().and_then(|more| more.local) {
            addresses.retain(|address| address.is_ipv4() == local.is_ipv4());
        }
        match addresses.is_empty() {
            true => none("the host has no address of the family of the local one"),
            false => Ok(addresses),
        }
    }

    /// Returns a socket that may connect to that address.
    pub(super) fn socket(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let domain = Domain::for_address(address);
        let stream = TcpStream::from(Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?);
        let socket = SockRef::from(&stream);
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(self.nodelay)?;
        let Some(more) = &self.more else { return Ok(stream) };
        if let Some(idle) = more.keepalive {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
        }
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
        if let Some(device) = &more.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(local) = more.local {
            socket.bind(&local.into())?;
        }
        if let Some(hook) = &more.hook {
            hook(&stream, address)?;
        }
        Ok(stream)
    }
}

impl Default for TcpOptions {
    fn default() -> TcpOptions {
        TcpOptions::new()
    }
}

impl fmt::Debug for TcpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let More { keepalive, local, device, hook } = self.more.as_deref().unwrap_or(&More::NONE);
        f.debug_struct("TcpOptions")
            .field("nodelay", &self.nodelay)
            .field("keepalive", keepalive)
            .field("local", local)
            .field("device", device)
            .field("hook", &hook.is_some())
            .finish()
    }
}
