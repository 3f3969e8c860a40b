//! The two roles of a session. The trait is sealed: there is no third.

use super::core::{Logic, Settings};

/// The side that a session takes: [`Client`](crate::Client) or [`Server`](crate::Server).
pub trait Role: Logic {
    /// What a session of this role is made from.
    type Config;

    #[doc(hidden)]
    fn new(config: Self::Config) -> (Self, Settings);
}
