//! What the tests share. Each test file uses a part of it.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod actor;
pub mod bench;
pub mod layers;
pub mod lent;
pub mod pipe;
pub mod requests;
pub mod runtime;
#[cfg(feature = "websocket")]
pub mod served;
pub mod server;
pub mod store;
pub mod streams;
