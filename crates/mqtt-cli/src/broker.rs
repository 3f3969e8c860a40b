//! `mqtt broker`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use mqtt_async::{CloseReason, ReasonCode};
use mqtt_broker::{
    Broker, BrokerConfig, ClientInfo, Connecting, Deciding, Hooks, Verdict, decided,
};

use crate::failure::Failure;
use crate::signal::Interrupts;

/// Runs a small broker, for development, tests and a single machine.
///
/// It lives in memory: what it holds is gone when it ends. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An address to listen on; may be given several times. Port 0 lets the system choose one.
    ///
    /// The default is reached from this machine only; 0.0.0.0:1883 from everywhere.
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1:1883")]
    listen: Vec<String>,

    /// A Unix socket to listen on as well.
    #[cfg(unix)]
    #[arg(long, value_name = "PATH")]
    unix: Vec<PathBuf>,

    /// Lets in only who has this name and password; may be given several times. Without, everybody is.
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = user)]
    user: Vec<(String, String)>,

    /// The most connections.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    max_connections: usize,

    /// The largest packet, in bytes.
    #[arg(long, value_name = "BYTES")]
    max_packet_size: Option<u32>,

    /// The most messages that wait for one client.
    #[arg(long, value_name = "COUNT")]
    max_queued: Option<usize>,

    /// How often it publishes what it counts, below $SYS/broker/; 0s is never.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    sys_interval: Duration,

    /// Says nothing on standard error but errors.
    #[arg(long)]
    quiet: bool,
}

fn user(text: &str) -> Result<(String, String), String> {
    let (name, password) = text.split_once(':').ok_or("it has to be NAME:PASSWORD")?;
    Ok((name.to_owned(), password.to_owned()))
}

/// Knows the users, and tells who comes and goes.
struct Watch {
    users: Option<HashMap<String, String>>,
    quiet: bool,
}

impl Hooks for Watch {
    fn authenticate(&self, connecting: Connecting) -> Deciding {
        let connect = &connecting.connect;
        if connect.authentication_method.is_some() {
            return decided(Verdict::refuse(ReasonCode::BAD_AUTHENTICATION_METHOD));
        }
        let Some(users) = &self.users else { return decided(Verdict::accept()) };
        let name = connect.user_name.as_ref().map_or("", |name| name.as_str());
        let known = users.get(name).map(String::as_bytes);
        decided(match known.is_some() && known == connect.password.as_deref() {
            true => Verdict::accept(),
            false => Verdict::refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        })
    }

    fn connected(&self, client: &ClientInfo, resumed: bool) {
        if self.quiet {
            return;
        }
        let from = client.peer.address.map_or(String::new(), |address| format!(" from {address}"));
        let how = if resumed { ", goes on with its session" } else { "" };
        let (id, version) = (client.client_id.as_str(), client.version);
        anstream::eprintln!("+ {id:?}{from}, {version}{how}");
    }

    fn disconnected(&self, client: &ClientInfo, reason: &CloseReason) {
        if !self.quiet {
            anstream::eprintln!("- {:?}: {reason}", client.client_id.as_str());
        }
    }
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new()?;
    let (broker, driver) = Broker::new(args.config());
    let driver = smol::spawn(driver);
    for address in &args.listen {
        let address = broker.listen(address).map_err(|error| cannot_listen(address, &error))?;
        anstream::eprintln!("listening on mqtt://{address}");
    }
    #[cfg(unix)]
    for path in &args.unix {
        let name = path.display();
        broker.listen_unix(path).map_err(|error| cannot_listen(&name, &error))?;
        anstream::eprintln!("listening on unix://{name}");
    }
    interrupts.next().await;
    broker.shutdown();
    // A second Ctrl-C waits for nobody.
    if interrupts.unless(driver).await.is_some() && !args.quiet {
        let stats = broker.stats();
        let (came, went) = (stats.messages_in, stats.messages_out);
        anstream::eprintln!("{came} messages came in, {went} went out");
    }
    Ok(())
}

fn cannot_listen(what: &impl std::fmt::Display, error: &mqtt_broker::ListenError) -> Failure {
    Failure::other(format_args!("{what}: {error}")).hint("is another broker running? see --listen")
}

impl Args {
    fn config(&self) -> BrokerConfig {
        let mut config = BrokerConfig::default();
        config.max_connections = self.max_connections;
        config.sys_interval = Some(self.sys_interval).filter(|interval| !interval.is_zero());
        if let Some(size) = self.max_packet_size {
            config.session.maximum_packet_size = size;
        }
        if let Some(messages) = self.max_queued {
            config.session.bounds.messages = messages;
        }
        let users = (!self.user.is_empty()).then(|| self.user.iter().cloned().collect());
        config.hooks(Watch { users, quiet: self.quiet })
    }
}
