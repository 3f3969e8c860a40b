//! What goes wrong, in one line for people and one number for scripts.

use std::process::ExitCode;
use std::{fmt, io};

use mqtt_async::rustls::{self, AlertDescription, CertificateError};
use mqtt_async::{
    CommandError, Error, ProxyError, PublishError, TlsError, TokenError, TopicError, WebSocketError,
};

/// Why a command ends; each has an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything else.
    Other = 1,
    /// The command line asks for something that cannot be.
    Usage = 2,
    /// There is no connection, or it was lost and cannot be made again.
    Connection = 3,
    /// The server does not let this client in, or not do this.
    Denied = 4,
    /// The server has rejected the message or the subscription.
    Rejected = 5,
    /// Nothing came in time.
    Timeout = 6,
    /// Ctrl-C, before everything was done; as shells have it.
    Interrupted = 130,
}

/// What is printed for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 other failure, 2 wrong usage, 3 no connection, 4 not let in or not authorized, \
5 rejected by the server, 6 nothing came in time, 130 interrupted before everything was done.

A DURATION is such as 500ms, 1h or 2m 30s; a bare number is in seconds.";

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    what: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, what: impl fmt::Display) -> Failure {
        Failure { kind, what: what.to_string(), hint: None }
    }

    pub(crate) fn usage(what: impl fmt::Display) -> Failure {
        Failure::new(Kind::Usage, what)
    }

    pub(crate) fn other(what: impl fmt::Display) -> Failure {
        Failure::new(Kind::Other, what)
    }

    pub(crate) fn interrupted() -> Failure {
        Failure::new(Kind::Interrupted, "interrupted")
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever a server puts into its Reason String.
        for part in self.what.split(|c: char| c.is_control()) {
            f.write_str(part)?;
        }
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let denied = error.is_auth();
        let failure = Failure::new(if denied { Kind::Denied } else { Kind::Connection }, &error);
        match error {
            _ if denied => failure.hint("see --username, --password and --client-id"),
            Error::Connect(error) => failure.hint(remedy(&error)),
            Error::ConnectTimeout { .. } => failure.hint(WHERE),
            Error::Eof { before_connack: true } => failure.hint("see --tls, --ws and --port"),
            Error::Refused(_) if error.reason().is_some_and(|it| it.get() == 0x84) => {
                failure.hint("try --mqtt-version 3.1.1")
            }
            _ => failure,
        }
    }
}

const WHERE: &str = "is the server running? see --host and --port, --url, --unix";

/// Says what helps where a layer failed.
fn remedy(error: &io::Error) -> &'static str {
    let Some(inner) = error.get_ref() else { return WHERE };
    if let Some(error) = inner.downcast_ref::<TlsError>() {
        return match error {
            TlsError::Handshake(rustls::Error::InvalidCertificate(certificate)) => {
                match certificate {
                    CertificateError::UnknownIssuer => "see --cafile and --capath",
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. } => "see --servername",
                    _ => "see --cafile and --servername",
                }
            }
            TlsError::Handshake(
                rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
                | rustls::Error::PeerIncompatible(_),
            ) => "see --tls-version",
            TlsError::Handshake(rustls::Error::AlertReceived(_)) => {
                "see --cert and --key, and --tls-alpn"
            }
            _ => "see --port",
        };
    }
    match inner.downcast_ref::<WebSocketError>() {
        Some(_) => "see --port and --ws-path",
        None if inner.is::<ProxyError>() => "see --proxy",
        None => WHERE,
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Failure {
        match error {
            TokenError::Ended(error) => error.into(),
            TokenError::Rejected(_) if error.is_auth() => Failure::new(Kind::Denied, error),
            TokenError::Rejected(_) => Failure::new(Kind::Rejected, error),
            error => Failure::other(error),
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Failure {
        match error {
            PublishError::Topic(_) | PublishError::Invalid(_) | PublishError::NotSupported(_) => {
                Failure::usage(error)
            }
            error => Failure::other(error),
        }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Failure {
        match error {
            CommandError::Filter(_) | CommandError::Invalid(_) | CommandError::NotSupported(_) => {
                Failure::usage(error)
            }
            error => Failure::other(error),
        }
    }
}

/// What is wrong with the command line: of clap's paragraphs the first, and its advice if it has some.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Failure {
        let text = error.to_string();
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut paragraphs = text.split("\n\n");
        let what = one_line(paragraphs.next().unwrap_or_default());
        let advice = paragraphs.find_map(|text| text.trim().strip_prefix("tip: "));
        let hint = advice.map_or_else(|| "see --help".to_owned(), one_line);
        Failure::usage(what.strip_prefix("error: ").unwrap_or(&what)).hint(hint)
    }
}

impl From<TopicError> for Failure {
    fn from(error: TopicError) -> Failure {
        Failure::usage(error)
    }
}
