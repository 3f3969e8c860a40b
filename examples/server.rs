//! What the examples share: the server to use, which is the embedded broker unless told otherwise.

use std::error::Error;
use std::process::ExitCode;

use mqtt_broker::{Broker, BrokerConfig};

/// A server, and the broker behind it if it is the embedded one.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    broker: Option<Broker>,
}

impl Server {
    /// Takes the server from `--url mqtt://HOST:PORT`, or starts a broker in a thread of its own.
    pub(crate) fn from_args() -> Result<Server, Box<dyn Error>> {
        let mut args = std::env::args().skip(1);
        let Some(arg) = args.next() else { return Server::embedded() };
        let url = match (arg.as_str(), args.next()) {
            ("--url", Some(url)) => url,
            _ => return Err("usage: [--url mqtt://HOST:PORT]".into()),
        };
        let address = url.strip_prefix("mqtt://").ok_or("the URL has to begin with mqtt://")?;
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "1883"));
        let port = port.trim_end_matches('/').parse().map_err(|_| format!("{port} is no port"))?;
        Ok(Server { host: host.to_owned(), port, broker: None })
    }

    /// Starts a broker in a thread of its own.
    pub(crate) fn embedded() -> Result<Server, Box<dyn Error>> {
        let (broker, driver) = Broker::new(BrokerConfig::default());
        let address = broker.listen("127.0.0.1:0")?;
        println!("the embedded broker listens on mqtt://{address}");
        std::thread::spawn(|| smol::block_on(driver));
        Ok(Server { host: address.ip().to_string(), port: address.port(), broker: Some(broker) })
    }

    /// Stops the embedded broker.
    pub(crate) fn stop(self) {
        if let Some(broker) = self.broker {
            broker.shutdown();
        }
    }
}

/// Says in one line what went wrong, if anything did.
pub(crate) fn report(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
