//! Where an enhanced authentication failed.

use std::fmt;

/// A step of an enhanced authentication that this side takes; see
/// [`Authenticator`](crate::Authenticator).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthenticationStep {
    /// What is said first.
    Start,
    /// The answer to a challenge of the server.
    Answer,
    /// The look at what the server says as it accepts.
    Finish,
}

impl fmt::Display for AuthenticationStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AuthenticationStep::Start => "cannot begin the authentication",
            AuthenticationStep::Answer => "cannot answer the server's challenge",
            AuthenticationStep::Finish => "the server did not prove who it is",
        })
    }
}
