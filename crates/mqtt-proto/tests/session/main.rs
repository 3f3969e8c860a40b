//! Scenarios: two sessions over a simulated wire, in both versions, in chunks of several sizes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::unreachable, reason = "tests may")]

mod pair;

mod acks;
mod alias_out;
mod connect;
mod flow;
mod keepalive;
mod limits;
mod qos;
mod resume;
mod server;
mod stall;
mod store;
