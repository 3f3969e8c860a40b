//! Measurements against other libraries. The README beside this tells how to run them and what they mean.

pub mod codec;
pub mod measure;
pub mod session;
