//! What a broker is told, by options and by a file: the names are the same.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use mqtt_async::TopicFilter;
use mqtt_broker::{BrokerConfig, QueueOverflow};
use serde::{Deserialize, Deserializer, de};

use crate::args::seconds_or_duration;
use crate::failure::Failure;

/// Options, or the content of a file. An option wins over the file; lists are added up.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Settings {
    /// An address to listen on, as 0.0.0.0:1883; may be given several times, as the others.
    ///
    /// A port alone is reached from this machine only; port 0 lets the system choose one. Without any listener it is
    /// 127.0.0.1:1883.
    #[arg(short, long, value_name = "ADDRESS", help_heading = "Listeners")]
    pub(super) listen: Vec<Value<String>>,

    /// An address to listen on for MQTT over TLS; 8883 is the usual port.
    #[arg(long, value_name = "ADDRESS", help_heading = "Listeners")]
    pub(super) tls: Vec<Value<String>>,

    /// An address to listen on for MQTT over WebSocket.
    #[arg(long, value_name = "ADDRESS", help_heading = "Listeners")]
    pub(super) ws: Vec<Value<String>>,

    /// An address to listen on for MQTT over WebSocket over TLS.
    #[arg(long, value_name = "ADDRESS", help_heading = "Listeners")]
    pub(super) wss: Vec<Value<String>>,

    /// A Unix socket to listen on.
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", help_heading = "Listeners")]
    pub(super) unix: Vec<Value<PathBuf>>,

    /// The certificate for TLS, with those of its issuers behind it, in PEM.
    #[arg(long, value_name = "PATH", help_heading = "Listeners")]
    pub(super) cert: Option<Value<PathBuf>>,

    /// The private key of that, in PEM.
    #[arg(long, value_name = "PATH", help_heading = "Listeners")]
    pub(super) key: Option<Value<PathBuf>>,

    /// Lets in, over TLS, only who shows a certificate of this authority.
    #[arg(long, value_name = "PATH", help_heading = "Listeners")]
    pub(super) client_ca: Option<Value<PathBuf>>,

    /// Lets in only who has this name and password; may be given several times. Without, everybody is.
    ///
    /// Others can see it in the list of processes; in a file, a user may have rights as well. A session belongs to the
    /// user that began it: nobody else gets what waits in it.
    #[arg(long, value_name = "NAME:PASSWORD")]
    pub(super) user: Vec<User>,

    /// The most connections; default 10000.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_connections: Option<usize>,

    /// The most clients that may connect in a second; default: no limit.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_connect_rate: Option<u32>,

    /// The largest packet, in bytes; default 1 MiB.
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    max_packet_size: Option<u32>,

    /// The most sessions, connected or not; default 10000.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_sessions: Option<usize>,

    /// How long a session may outlive its connection, such as 7d; default: for ever.
    #[arg(long, value_name = "DURATION", value_parser = seconds_or_duration, help_heading = "Limits")]
    #[serde(deserialize_with = "duration")]
    max_session_expiry: Option<Duration>,

    /// The longest Keep Alive of a client of MQTT 5.0, in seconds; default: as it likes.
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    max_keepalive: Option<u16>,

    /// The most messages that wait for one client; default 16384.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_queued: Option<usize>,

    /// The most bytes of these; default 16 MiB.
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    max_queued_bytes: Option<usize>,

    /// The most bytes that wait for all clients together; default 1 GiB.
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    max_queued_total: Option<usize>,

    /// What happens when the queue of a client is full; default drop-newest.
    #[arg(long, value_enum, value_name = "POLICY", help_heading = "Limits")]
    queue_overflow: Option<Overflow>,

    /// The most retained messages; default 100000.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_retained: Option<usize>,

    /// The most bytes of these; default 64 MiB.
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    max_retained_bytes: Option<usize>,

    /// How often it publishes what it counts, below $SYS/broker/; 0s is never. Default 10s.
    #[arg(long, value_name = "DURATION", value_parser = seconds_or_duration)]
    #[serde(deserialize_with = "duration")]
    sys_interval: Option<Duration>,

    /// Says nothing on standard error but errors.
    #[arg(long)]
    pub(super) quiet: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Overflow {
    /// The newest message is dropped.
    DropNewest,
    /// The message that has waited longest is dropped.
    DropOldest,
    /// The newest message is dropped, and the client is cut off if it is connected.
    Disconnect,
}

/// A value, and where in a file it stands; nowhere, if it is an option.
#[derive(Clone, Debug)]
pub(super) struct Value<T> {
    pub(super) value: T,
    at: Option<Range<usize>>,
}

impl<T: FromStr> FromStr for Value<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Value<T>, T::Err> {
        Ok(Value { value: text.parse()?, at: None })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Value<T>, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(from)?;
        Ok(Value { at: Some(spanned.span()), value: spanned.into_inner() })
    }
}

/// Somebody who may connect.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
    /// What it may publish to; everything, if that is not said.
    pub(super) publish: Option<Vec<Filter>>,
    /// What it may subscribe to; everything, if that is not said.
    pub(super) subscribe: Option<Vec<Filter>>,
}

/// Shows no password.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<User, String> {
        let (name, password) = text.split_once(':').ok_or("it has to be NAME:PASSWORD")?;
        let (name, password) = (name.to_owned(), password.to_owned());
        Ok(User { name, password, publish: None, subscribe: None })
    }
}

#[derive(Clone, Debug)]
pub(super) struct Filter(pub(super) TopicFilter);

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Filter, D::Error> {
        let text = String::deserialize(from)?;
        let filter = TopicFilter::new(&*text);
        filter.map(Filter).map_err(|error| de::Error::custom(format_args!("{text}: {error}")))
    }
}

/// Reads a duration as options have it, or a number of seconds.
fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = match toml::Value::deserialize(from)? {
        toml::Value::String(text) => text,
        toml::Value::Integer(seconds) => seconds.to_string(),
        _ => return Err(de::Error::custom("a duration is as \"7d\", or a number of seconds")),
    };
    seconds_or_duration(&text).map(Some).map_err(de::Error::custom)
}

impl Settings {
    /// Returns these options, and what the file says besides.
    pub(super) fn over(mut self, file: Settings) -> Settings {
        self.listen.extend(file.listen);
        self.tls.extend(file.tls);
        self.ws.extend(file.ws);
        self.wss.extend(file.wss);
        #[cfg(unix)]
        self.unix.extend(file.unix);
        // By name, so that an option wins here as well.
        let is_new = |user: &User| self.user.iter().all(|known| known.name != user.name);
        let of_file: Vec<_> = file.user.into_iter().filter(is_new).collect();
        self.user.extend(of_file);
        Settings {
            cert: self.cert.or(file.cert),
            key: self.key.or(file.key),
            client_ca: self.client_ca.or(file.client_ca),
            max_connections: self.max_connections.or(file.max_connections),
            max_connect_rate: self.max_connect_rate.or(file.max_connect_rate),
            max_packet_size: self.max_packet_size.or(file.max_packet_size),
            max_sessions: self.max_sessions.or(file.max_sessions),
            max_session_expiry: self.max_session_expiry.or(file.max_session_expiry),
            max_keepalive: self.max_keepalive.or(file.max_keepalive),
            max_queued: self.max_queued.or(file.max_queued),
            max_queued_bytes: self.max_queued_bytes.or(file.max_queued_bytes),
            max_queued_total: self.max_queued_total.or(file.max_queued_total),
            queue_overflow: self.queue_overflow.or(file.queue_overflow),
            max_retained: self.max_retained.or(file.max_retained),
            max_retained_bytes: self.max_retained_bytes.or(file.max_retained_bytes),
            sys_interval: self.sys_interval.or(file.sys_interval),
            quiet: self.quiet || file.quiet,
            ..self
        }
    }

    /// Tells whether nothing is listened on.
    pub(super) fn is_deaf(&self) -> bool {
        #[cfg(unix)]
        if !self.unix.is_empty() {
            return false;
        }
        [&self.listen, &self.tls, &self.ws, &self.wss].iter().all(|it| it.is_empty())
    }

    /// Returns the limits.
    pub(super) fn config(&self) -> BrokerConfig {
        fn set<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        let mut config = BrokerConfig::default();
        set(&mut config.max_connections, self.max_connections);
        config.max_connect_rate = self.max_connect_rate;
        set(&mut config.session.maximum_packet_size, self.max_packet_size);
        set(&mut config.max_sessions, self.max_sessions);
        config.sessions_belong_to_users = !self.user.is_empty();
        let seconds = |it: Duration| u32::try_from(it.as_secs()).unwrap_or(u32::MAX);
        set(&mut config.max_session_expiry_interval, self.max_session_expiry.map(seconds));
        config.max_keep_alive = self.max_keepalive;
        set(&mut config.session.bounds.messages, self.max_queued);
        set(&mut config.session.bounds.bytes, self.max_queued_bytes);
        set(&mut config.max_queued_total, self.max_queued_total);
        set(&mut config.max_retained_messages, self.max_retained);
        set(&mut config.max_retained_bytes, self.max_retained_bytes);
        let overflow = self.queue_overflow.map(|policy| match policy {
            Overflow::DropNewest => QueueOverflow::DropNewest,
            Overflow::DropOldest => QueueOverflow::DropOldest,
            Overflow::Disconnect => QueueOverflow::Disconnect,
        });
        set(&mut config.queue_overflow, overflow);
        let interval = self.sys_interval.unwrap_or(Duration::from_secs(10));
        config.sys_interval = Some(interval).filter(|interval| !interval.is_zero());
        config
    }
}

/// The file that settings come from; none, if there are only options.
#[derive(Debug, Default)]
pub(super) struct File {
    path: PathBuf,
    text: String,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<File, Failure> {
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::usage(format_args!("--config {}: {error}", path.display()))
        })?;
        Ok(File { path: path.to_owned(), text })
    }

    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let mut settings: Settings = toml::from_str(&self.text).map_err(|error| {
            let place = error.span().map_or_else(String::new, |span| self.place(span.start));
            Failure::usage(format_args!(
                "{}{place}: {}",
                self.path.display(),
                error.message().trim()
            ))
        })?;
        // Paths are as seen from the file.
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let files = [&mut settings.cert, &mut settings.key, &mut settings.client_ca];
        let paths = files.into_iter().flatten();
        #[cfg(unix)]
        let paths = paths.chain(&mut settings.unix);
        paths.for_each(|path| path.value = folder.join(&path.value));
        Ok(settings)
    }

    /// Names a value for whoever has to mend it: by line and key, or by the option.
    pub(super) fn name<T>(&self, value: &Value<T>, option: &str) -> String {
        match &value.at {
            Some(span) => format!("{}{}", self.path.display(), self.place(span.start)),
            None => format!("--{option}"),
        }
    }

    /// Returns `:LINE: KEY` of what stands there; a list may have begun in a line above.
    fn place(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count();
        let above: Vec<&str> = self.text.lines().take(line + 1).map(str::trim).collect();
        let mut above = above.into_iter().rev().take_while(|text| !text.starts_with('['));
        let key = above.find_map(|text| Some(text.split_once('=')?.0.trim()));
        let key = key.filter(|key| !key.starts_with('#'));
        format!(":{}{}", line + 1, key.map_or_else(String::new, |key| format!(": {key}")))
    }
}
