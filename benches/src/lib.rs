//! Measurements against other libraries. The README beside this tells how to run them and what they mean.

mod about;
#[cfg(feature = "peers")]
pub mod client;
pub mod codec;
#[cfg(feature = "peers")]
pub mod growth;
#[cfg(feature = "client")]
pub mod load;
pub mod measure;
#[cfg(feature = "client")]
pub mod memory;
#[cfg(feature = "peers")]
mod plot;
pub mod router;
pub mod session;
#[cfg(feature = "client")]
pub mod sink;
