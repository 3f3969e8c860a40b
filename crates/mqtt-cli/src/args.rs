//! The command line that all commands share.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use mqtt_async::{Publish, QoS, Text, TopicName, Version};

use crate::failure::Failure;
use crate::transport::Transport;

/// How to reach a server, and as whom.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The Client Identifier; without, the server chooses one.
    #[arg(short = 'i', long = "client-id", alias = "id", value_name = "ID")]
    pub(crate) client_id: Option<String>,

    /// The User Name; that of a --url counts more.
    #[arg(short, long, value_name = "NAME", env = "MQTT_USERNAME", allow_hyphen_values = true)]
    pub(crate) username: Option<String>,

    /// The password. Others can see it in the list of processes: the environment variable hides it.
    #[arg(
        short = 'P',
        long,
        alias = "pw",
        env = "MQTT_PASSWORD",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    pub(crate) password: Option<String>,

    /// The version of the protocol [default: 5]
    #[arg(short = 'V', long, value_enum, value_name = "VERSION")]
    pub(crate) mqtt_version: Option<MqttVersion>,

    /// The Keep Alive, in seconds; 0 turns it off [default: 60]
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) keepalive: Option<u16>,

    /// Goes on with the session of the Client Identifier, if the server has one, and keeps it for so long
    /// after the end, such as 1h; with 3.1.1 for as long as the server likes.
    #[arg(long, value_name = "DURATION", value_parser = seconds_or_duration)]
    pub(crate) session: Option<Duration>,

    /// Publishes this if the connection breaks.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) will_topic: Option<String>,

    /// The payload of that.
    #[arg(long, value_name = "TEXT", requires = "will_topic", allow_hyphen_values = true)]
    pub(crate) will_payload: Option<String>,

    /// The QoS of that.
    #[arg(long, value_name = "QOS", requires = "will_topic", value_parser = qos, default_value = "0")]
    pub(crate) will_qos: QoS,

    /// Whether that is retained.
    #[arg(long, requires = "will_topic")]
    pub(crate) will_retain: bool,

    /// Says nothing on standard error but errors.
    #[arg(long)]
    pub(crate) quiet: bool,

    // Behind the others, because it begins new headings.
    #[command(flatten)]
    pub(crate) transport: Transport,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum MqttVersion {
    #[value(name = "5", aliases = ["5.0", "mqttv5"])]
    V5,
    #[value(name = "3.1.1", aliases = ["311", "mqttv311"])]
    V311,
    #[value(name = "3.1", aliases = ["31", "mqttv31"])]
    V31,
}

impl From<MqttVersion> for Version {
    fn from(version: MqttVersion) -> Version {
        match version {
            MqttVersion::V5 => Version::V5,
            MqttVersion::V311 => Version::V311,
            MqttVersion::V31 => Version::V31,
        }
    }
}

/// Reads a QoS.
pub(crate) fn qos(text: &str) -> Result<QoS, String> {
    match text {
        "0" => Ok(QoS::AtMostOnce),
        "1" => Ok(QoS::AtLeastOnce),
        "2" => Ok(QoS::ExactlyOnce),
        _ => Err("a QoS is 0, 1 or 2".to_owned()),
    }
}

/// Reads `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has to be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Where a payload comes from.
#[derive(Args, Debug)]
#[group(id = "payload", required = true, multiple = false)]
pub(crate) struct Payload {
    /// The payload, as it stands here.
    // Whatever it begins with: it may be a negative number.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<String>,

    /// The payload is the content of a file.
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,

    /// The payload is all that comes on standard input.
    #[arg(short, long)]
    stdin: bool,

    /// The payload is empty; with --retain this removes what is retained.
    #[arg(short, long = "null")]
    null: bool,
}

impl Payload {
    /// Returns the payload, which may take until the standard input ends.
    pub(crate) fn read(&self) -> Result<Bytes, Failure> {
        if let Some(message) = &self.message {
            return Ok(Bytes::from(message.clone()));
        }
        if let Some(path) = &self.file {
            let content = fs::read(path);
            let cannot =
                |error| Failure::usage(format_args!("cannot read {}: {error}", path.display()));
            return content.map(Bytes::from).map_err(cannot);
        }
        let mut content = Vec::new();
        if self.stdin {
            io::stdin().lock().read_to_end(&mut content).map_err(cannot_read_stdin)?;
        }
        Ok(content.into())
    }
}

pub(crate) fn cannot_read_stdin(error: io::Error) -> Failure {
    Failure::other(format_args!("cannot read the standard input: {error}"))
}

/// What MQTT 5.0 can say of a message.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Properties (MQTT 5.0)")]
pub(crate) struct Properties {
    /// What the payload is, such as application/json.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,

    /// Where a response is expected.
    #[arg(long, value_name = "TOPIC")]
    response_topic: Option<String>,

    /// What a response has to bring along.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    correlation_data: Option<String>,

    /// How long the message is worth delivering, such as 5m.
    #[arg(long, value_name = "DURATION", value_parser = seconds_or_duration)]
    expiry: Option<Duration>,

    /// A User Property; may be given several times.
    #[arg(short = 'D', long = "user-property", value_name = "NAME=VALUE", value_parser = pair)]
    user_properties: Vec<(String, String)>,
}

impl Properties {
    pub(crate) fn put(&self, publish: &mut Publish) -> Result<(), Failure> {
        let text = |text: &str| Text::new(text).map_err(Failure::usage);
        if let Some(content_type) = &self.content_type {
            publish.properties.edit().content_type = Some(text(content_type)?);
        }
        if let Some(topic) = &self.response_topic {
            publish.properties.edit().response_topic = Some(TopicName::new(topic)?);
        }
        if let Some(data) = &self.correlation_data {
            publish.properties.edit().correlation_data = Some(Bytes::from(data.clone()));
        }
        if let Some(expiry) = self.expiry {
            let seconds = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
            publish.properties.edit().message_expiry_interval = Some(seconds);
        }
        for (name, value) in &self.user_properties {
            let property = (text(name)?, text(value)?);
            publish.properties.edit().user_properties.push(property);
        }
        Ok(())
    }
}

/// Reads a duration; a bare number is in seconds, as people know it from other clients.
pub(crate) fn seconds_or_duration(text: &str) -> Result<Duration, humantime::DurationError> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_in_seconds() {
        assert_eq!(seconds_or_duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(seconds_or_duration("1m 5s"), Ok(Duration::from_secs(65)));
        assert!(seconds_or_duration("soon").is_err());
    }
}
