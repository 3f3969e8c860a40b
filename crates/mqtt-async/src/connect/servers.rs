//! Several servers, of which one is connected to at a time.

use std::io;

use super::{Address, Connector};
use crate::random::Random;
use crate::stage::Progress;

/// A connector that goes through a list of servers.
///
/// Each attempt to connect goes to the next server, around and around, also after a connection that was
/// lost. [`Backoff`](crate::Backoff) says how long to wait in between, as with one server. A session is a
/// matter of one server, unless they share it: a client that comes to another one mostly finds none, and
/// subscribes anew.
///
/// The names are what the hook [`before_connect`](crate::Driver::before_connect) may select. A name that
/// is not in the list is passed on to the connector whose turn it is.
///
/// A server that sends the client elsewhere ([`Redirects`](crate::Redirects)) does not choose among them,
/// whatever name it says: that connection is made by the connector of the server that has said it. So a list
/// may have connectors with TLS and others without.
///
/// ```
/// # #[cfg(feature = "async-io")]
/// # fn example() {
/// use mqtt_async::{Client, Config, Servers, Tcp, Version};
///
/// let servers = Servers::new("first", Tcp::new("mqtt-1.example.com", 1883))
///     .and("second", Tcp::new("mqtt-2.example.com", 1883))
///     .shuffled();
/// let (client, driver) = Client::new(Config::new(Version::V5), servers);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Servers<C> {
    first: (String, C),
    others: Vec<(String, C)>,
    /// The order of this round.
    order: Vec<usize>,
    /// How many of them had their turn.
    done: usize,
    /// Whether the order of this round is settled.
    ordered: bool,
    random: Option<Random>,
    selected: Option<usize>,
    /// The one that was connected to last.
    last: usize,
}

impl<C: Connector> Servers<C> {
    /// Returns a list of one server.
    pub fn new(name: impl Into<String>, connector: C) -> Servers<C> {
        Servers {
            first: (name.into(), connector),
            others: Vec::new(),
            order: vec![0],
            done: 0,
            ordered: false,
            random: None,
            selected: None,
            last: 0,
        }
    }

    /// Adds a server to the end of the list.
    #[must_use]
    pub fn and(mut self, name: impl Into<String>, connector: C) -> Servers<C> {
        self.others.push((name.into(), connector));
        self.order.push(self.others.len());
        self
    }

    /// Goes through the list in a random order, another one each time: many clients with the same list do
    /// not all come to its first server.
    #[must_use]
    pub fn shuffled(mut self) -> Servers<C> {
        self.random = Some(Random::new());
        self
    }

    /// Returns the place of the server whose turn it is.
    fn turn(&mut self) -> usize {
        if self.done >= self.order.len() {
            self.done = 0;
            self.ordered = false;
        }
        if !std::mem::replace(&mut self.ordered, true)
            && let Some(random) = &mut self.random
        {
            for last in (1..self.order.len()).rev() {
                let other = random.next() % (last as u64 + 1);
                self.order.swap(last, usize::try_from(other).unwrap_or(last));
            }
        }
        self.order.get(self.done).copied().unwrap_or_default()
    }

    fn at(&mut self, place: usize) -> &mut C {
        let other = place.checked_sub(1).and_then(|place| self.others.get_mut(place));
        &mut other.unwrap_or(&mut self.first).1
    }
}

impl<C: Connector> Connector for Servers<C> {
    type Io = C::Io;
    type Connecting = C::Connecting;

    fn connect(&mut self, progress: &Progress) -> C::Connecting {
        let place = self.selected.take().unwrap_or_else(|| {
            let place = self.turn();
            self.done += 1;
            place
        });
        self.last = place;
        self.at(place).connect(progress)
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        if self.first.0 == server {
            self.selected = Some(0);
            return Ok(());
        }
        if let Some(place) = self.others.iter().position(|(name, _)| name == server) {
            self.selected = Some(place + 1);
            return Ok(());
        }
        let place = self.turn();
        self.at(place).select(server)?;
        self.selected = Some(place);
        Ok(())
    }

    fn redirect(&mut self, server: &str) -> io::Result<()> {
        let place = self.last;
        self.at(place).redirect(server)?;
        self.selected = Some(place);
        Ok(())
    }

    fn address(&mut self) -> Option<Address> {
        let place = self.selected.unwrap_or_else(|| self.turn());
        self.at(place).address()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{Ready, ready};
    use std::rc::Rc;

    use futures_lite::io::Cursor;

    use super::*;

    /// Notes who is connected to.
    #[derive(Clone)]
    struct Note(&'static str, Rc<RefCell<String>>);

    impl Connector for Note {
        type Io = Cursor<Vec<u8>>;
        type Connecting = Ready<io::Result<Cursor<Vec<u8>>>>;

        fn connect(&mut self, _: &Progress) -> Self::Connecting {
            self.1.borrow_mut().push_str(self.0);
            ready(Ok(Cursor::new(Vec::new())))
        }

        fn select(&mut self, server: &str) -> io::Result<()> {
            if server == "nowhere" {
                return Err(io::ErrorKind::Unsupported.into());
            }
            self.1.borrow_mut().push_str(server);
            Ok(())
        }

        fn address(&mut self) -> Option<Address> {
            Some(Address::new(self.0, 1883))
        }
    }

    fn servers() -> (Servers<Note>, Rc<RefCell<String>>) {
        let log = Rc::default();
        let note = |name| Note(name, Rc::clone(&log));
        let servers = Servers::new("a", note("a")).and("b", note("b")).and("c", note("c"));
        (servers, log)
    }

    #[test]
    fn goes_round_in_order() {
        let (mut servers, log) = servers();
        for _ in 0..7 {
            drop(servers.connect(&Progress::default()));
        }
        assert_eq!(*log.borrow(), "abcabca");
    }

    #[test]
    fn a_selected_server_takes_no_turn() {
        let (mut servers, log) = servers();
        drop(servers.connect(&Progress::default()));
        servers.select("c").unwrap();
        drop(servers.connect(&Progress::default()));
        drop(servers.connect(&Progress::default()));
        // A name of no entry goes to the one whose turn it is.
        servers.select("other:").unwrap();
        drop(servers.connect(&Progress::default()));
        assert!(servers.select("nowhere").is_err());
        drop(servers.connect(&Progress::default()));
        servers.select("a").unwrap();
        drop(servers.connect(&Progress::default()));
        assert_eq!(*log.borrow(), "acbother:cca");
    }

    #[test]
    fn a_redirect_stays_with_the_entry_that_was_connected_to() {
        let (mut servers, log) = servers();
        drop(servers.connect(&Progress::default()));
        drop(servers.connect(&Progress::default()));
        // Also to the name of another entry, and again.
        for _ in 0..2 {
            servers.redirect("a:").unwrap();
            assert_eq!(servers.address().unwrap().host(), "b");
            drop(servers.connect(&Progress::default()));
        }
        assert!(servers.redirect("nowhere").is_err());
        drop(servers.connect(&Progress::default()));
        servers.redirect("x:").unwrap();
        drop(servers.connect(&Progress::default()));
        // One that the application has selected is one that was connected to.
        servers.select("a").unwrap();
        drop(servers.connect(&Progress::default()));
        servers.redirect("c:").unwrap();
        drop(servers.connect(&Progress::default()));
        assert_eq!(*log.borrow(), "aba:ba:bcx:cac:a");
    }

    #[test]
    fn the_address_is_that_of_the_next_connection() {
        for _ in 0..50 {
            let (servers, log) = servers();
            let mut servers = servers.shuffled();
            for round in 0..7 {
                if round == 2 {
                    servers.select("b").unwrap();
                }
                let address = servers.address().unwrap();
                assert_eq!(servers.address().as_ref(), Some(&address));
                drop(servers.connect(&Progress::default()));
                assert_eq!(log.borrow()[round..], *address.host());
            }
        }
    }

    #[test]
    fn a_shuffled_round_has_each_server_once() {
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let (servers, log) = servers();
            let mut servers = servers.shuffled();
            for _ in 0..6 {
                drop(servers.connect(&Progress::default()));
            }
            let log = log.borrow().clone();
            for round in [&log[..3], &log[3..]] {
                assert!(["a", "b", "c"].iter().all(|name| round.contains(name)), "{log}");
            }
            firsts.insert(log[..1].to_owned());
        }
        assert_eq!(firsts.len(), 3);
    }
}
