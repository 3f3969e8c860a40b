//! Scenarios: two sessions over a simulated wire, or one against a script, in both versions, in chunks
//! of several sizes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::unreachable, unreachable_pub, reason = "tests may")]

mod pair;
mod solo;

mod accept;
mod acks;
mod alias;
mod alias_out;
mod auth;
mod connect;
mod direct;
mod flow;
mod fuzzed;
mod given_up;
mod handshake;
mod keepalive;
mod limits;
mod line;
mod problem_information;
mod qos;
mod random;
mod reported;
mod resume;
mod round_trip;
mod server;
mod spent;
mod stall;
mod store;
mod unwritten;
mod v311;
mod writable;
