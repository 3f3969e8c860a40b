//! The two roles of a session. The trait is sealed: there is no third.

use bytes::BytesMut;

use super::core::{Core, Settings};
use super::error::{CommandError, PeerError};
use crate::packet::{Auth, Disconnect, Packet};
use crate::time::Instant;

/// The side that a session takes: [`Client`](crate::Client) or [`Server`](crate::Server).
pub trait Role: Logic {
    /// What a session of this role is made from.
    type Config;

    #[doc(hidden)]
    fn new(config: Self::Config) -> (Self, Settings);
}

/// What one role does differently from the other.
#[allow(unreachable_pub, reason = "public in name only: it seals `Role`")]
pub trait Logic: Sized {
    /// A transport is open.
    fn open(&mut self, core: &mut Core, now: Instant);

    /// A packet came that the roles do not share.
    fn packet(&mut self, core: &mut Core, packet: Packet, now: Instant) -> Result<(), PeerError>;

    /// Bytes came, after which the first whole packet of the connection may be there.
    fn first(
        &mut self,
        core: &mut Core,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<bool, PeerError>;

    /// Time has passed.
    fn timeout(&mut self, core: &mut Core, now: Instant);

    fn check_disconnect(&self, core: &Core, disconnect: &Disconnect) -> Result<(), CommandError>;

    fn authenticate(&mut self, core: &mut Core, auth: Auth) -> Result<(), CommandError>;
}
