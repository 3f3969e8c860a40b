//! Where connectors go to.

use std::sync::Arc;
use std::{fmt, io};

use crate::redirect::Reference;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    host: Arc<str>,
    port: u16,
}

impl Address {
    /// Returns the address of that host: a name, or an IP address.
    ///
    /// Brackets around an IPv6 address are taken away.
    pub fn new(host: impl AsRef<str>, port: u16) -> Address {
        let host = host.as_ref();
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Address { host: literal.unwrap_or(host).into(), port }
    }

    /// Returns the host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Reads `host`, `host:port`, or an IPv6 address, which stands in brackets if a port follows: as MQTT
    /// 5.0 section 4.13 has it for Server References. Without a port it is that of this address.
    #[allow(dead_code, reason = "every connector that has an address uses it")]
    pub(crate) fn other(&self, server: &str) -> io::Result<Address> {
        let Some(Reference { host, port }) = Reference::read(server) else {
            let what = format!("{server:?} is no host, and no host with a port");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        };
        Ok(Address::new(host, port.unwrap_or(self.port)))
    }
}

/// As in a URL: an IPv6 address stands in brackets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Where a connector goes to, and where it goes to once.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "every connector that has an address uses it")]
pub(crate) struct Target<T> {
    own: T,
    /// The server of the next connection, if it is another one.
    selected: Option<T>,
}

#[allow(dead_code, reason = "every connector that has an address uses it")]
impl<T: Clone> Target<T> {
    pub(crate) fn new(own: T) -> Target<T> {
        Target { own, selected: None }
    }

    pub(crate) fn own(&self) -> &T {
        &self.own
    }

    /// Returns where the next connection goes to.
    pub(crate) fn next(&self) -> &T {
        self.selected.as_ref().unwrap_or(&self.own)
    }

    /// Returns where the connection goes to that begins now.
    pub(crate) fn take(&mut self) -> T {
        self.selected.take().unwrap_or_else(|| self.own.clone())
    }

    pub(crate) fn select(&mut self, server: T) {
        self.selected = Some(server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_server_names() {
        let address = Address::new("first", 1883);
        let read = |server| address.other(server).map(|it| (it.host.to_string(), it.port));
        for (server, host, port) in [
            ("h", "h", 1883),
            ("h.example.com:8883", "h.example.com", 8883),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("::1", "::1", 1883),
            ("[::1]", "::1", 1883),
            ("fe80::1%eth0", "fe80::1%eth0", 1883),
            ("[fe80::1%eth0]:7", "fe80::1%eth0", 7),
            ("[2001:db8::1]:1884", "2001:db8::1", 1884),
        ] {
            assert_eq!(read(server).unwrap(), (host.to_owned(), port), "{server}");
        }
        for server in ["", ":1883", "h:", "h:x", "h:65536", "a:b:c", "[::1]1883", "[::1", "one two"]
        {
            let read = read(server);
            assert!(read.is_err(), "{server}: {read:?}");
        }
    }

    #[test]
    fn shows_what_it_reads() {
        for (host, shown) in [("h", "h:7"), ("10.0.0.1", "10.0.0.1:7"), ("[::1]", "[::1]:7")] {
            assert_eq!(Address::new(host, 7).to_string(), shown);
            assert_eq!(Address::new("x", 1).other(shown).unwrap(), Address::new(host, 7));
        }
    }

    #[test]
    fn a_server_that_is_selected_counts_once() {
        let mut target = Target::new("own");
        target.select("other");
        assert_eq!((*target.next(), target.take()), ("other", "other"));
        assert_eq!((*target.next(), target.take()), ("own", "own"));
    }
}
