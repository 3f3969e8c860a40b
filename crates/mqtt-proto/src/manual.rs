//! What is behind the API: why it is as it is, and what one has to know to build on it.

/// What lives how long: sessions, connections, packets, and what each of them keeps.
#[doc = include_str!("manual/lifetimes.md")]
pub mod lifetimes {}

/// How much is held, by whom, and what happens at the bounds.
#[doc = include_str!("manual/flow_control.md")]
pub mod flow_control {}

/// Messages that survive a restart: the journal.
#[doc = include_str!("manual/persistence.md")]
pub mod persistence {}

/// What goes wrong in other clients, and why it cannot here.
#[doc = include_str!("manual/bugs_others_had.md")]
pub mod bugs_others_had {}

/// Where the standard leaves a choice, or is not followed to the letter.
#[doc = include_str!("manual/conformance.md")]
pub mod conformance {}
