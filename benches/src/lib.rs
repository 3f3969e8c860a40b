//! Measurements against other libraries. The README beside this tells how to run them and what they mean.

#[cfg(feature = "peers")]
pub mod client;
pub mod codec;
#[cfg(feature = "client")]
pub mod load;
pub mod measure;
pub mod session;
#[cfg(feature = "client")]
pub mod sink;
