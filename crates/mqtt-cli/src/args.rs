//! The command line that all commands share.

use std::time::Duration;

use clap::{Args, ValueEnum};
use mqtt_async::{QoS, Version};

/// How to reach a server, and as whom.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The host name or address of the server.
    #[arg(short = 'h', long, default_value = "localhost", env = "MQTT_HOST")]
    pub(crate) host: String,

    /// The port; 1883 is usual.
    #[arg(short, long, default_value_t = 1883, env = "MQTT_PORT")]
    pub(crate) port: u16,

    /// The Client Identifier; without, the server chooses one.
    #[arg(short = 'i', long = "client-id", alias = "id", value_name = "ID")]
    pub(crate) client_id: Option<String>,

    /// The User Name.
    #[arg(short, long, value_name = "NAME", env = "MQTT_USERNAME")]
    pub(crate) username: Option<String>,

    /// The password. Others can see it in the list of processes: the environment variable hides it.
    #[arg(short = 'P', long, alias = "pw", env = "MQTT_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,

    /// The version of the protocol.
    #[arg(short = 'V', long, value_enum, default_value = "5", value_name = "VERSION")]
    pub(crate) mqtt_version: MqttVersion,

    /// The Keep Alive, in seconds; 0 turns it off.
    #[arg(short, long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) keepalive: u16,

    /// Goes on with the session of the Client Identifier, if the server has one, and keeps it for so long
    /// after the end; with 3.1.1 for as long as the server likes.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) session: Option<Duration>,

    /// Publishes this if the connection breaks.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) will_topic: Option<String>,

    /// The payload of that.
    #[arg(long, value_name = "TEXT", requires = "will_topic")]
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
