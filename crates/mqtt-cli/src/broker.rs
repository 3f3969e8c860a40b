//! `mqtt broker`.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use mqtt_broker::{Broker, Layers, ListenError, TlsIdentity};

use crate::failure::Failure;
use crate::signal::Interrupts;

mod access;
mod settings;

use access::Access;
use settings::{File, Settings, Value};

/// Where it listens if nobody says anything.
const DEFAULT: &str = "127.0.0.1:1883";

/// What is printed for `--help`.
const FILE_HELP: &str = "\
In a file of --config stand the same names, with lists in brackets, and a table [[user]] for each user, with \
name, password, and, if it may not do everything, lists of filters: publish and subscribe. Paths are as seen from the \
file. An option wins over the file; listeners and users are added up.";

/// Runs a small broker, for development, tests and a single machine.
///
/// It lives in memory: what it holds is gone when it ends. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = FILE_HELP)]
pub(crate) struct Args {
    /// Reads all this from a TOML file.
    #[arg(short, long, value_name = "PATH")]
    config: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let (file, settings) = match &args.config {
        Some(path) => {
            let file = File::read(path)?;
            let settings = args.settings.over(file.settings()?);
            (file, settings)
        }
        None => (File::default(), args.settings),
    };
    let mut interrupts = Interrupts::new()?;
    let hooks = Access::new(settings.user.clone(), settings.quiet);
    let (broker, driver) = Broker::new(settings.config().hooks(hooks));
    listen(&broker, &settings, &file)?;
    let driver = smol::spawn(driver);
    interrupts.next().await;
    broker.shutdown();
    // A second Ctrl-C waits for nobody.
    if interrupts.unless(driver).await.is_some() && !settings.quiet {
        let stats = broker.stats();
        let (came, went) = (stats.messages_in, stats.messages_out);
        anstream::eprintln!("stopped: {came} messages came in, {went} went out");
    }
    Ok(())
}

/// Listens everywhere, and says where.
fn listen(broker: &Broker, settings: &Settings, file: &File) -> Result<(), Failure> {
    if settings.is_deaf() {
        let address =
            broker.listen(DEFAULT).map_err(|error| cannot_listen(DEFAULT, &error, of_address))?;
        anstream::eprintln!("listening on mqtt://{address}");
    }
    let tls = tls(settings, file)?;
    for (option, scheme, addresses, layers) in [
        ("listen", "mqtt", &settings.listen, Layers::new()),
        ("tls", "mqtts", &settings.tls, tls.clone()),
        ("ws", "ws", &settings.ws, Layers::new().websocket()),
        ("wss", "wss", &settings.wss, tls.websocket()),
    ] {
        for address in addresses {
            let target = target(&address.value);
            let bound = broker.listen_with(&*target, layers.clone()).map_err(|error| {
                let name = file.name(address, option);
                cannot_listen(&format!("{name}: {}", address.value), &error, of_address)
            })?;
            anstream::eprintln!("listening on {scheme}://{bound}");
        }
    }
    #[cfg(unix)]
    for path in &settings.unix {
        let shown = path.value.display();
        broker.listen_unix(&path.value).map_err(|error| {
            let what = format!("{}: {shown}", file.name(path, "unix"));
            cannot_listen(&what, &error, of_socket)
        })?;
        anstream::eprintln!("listening on unix://{shown}");
    }
    Ok(())
}

/// Returns the layer for TLS; none, if nobody listens for it.
fn tls(settings: &Settings, file: &File) -> Result<Layers, Failure> {
    let listeners = settings.tls.first().or(settings.wss.first());
    let Some(listener) = listeners else { return Ok(Layers::new()) };
    let (Some(cert), Some(key)) = (&settings.cert, &settings.key) else {
        let option = if settings.tls.is_empty() { "wss" } else { "tls" };
        let what =
            format_args!("{}: TLS needs a certificate and its key", file.name(listener, option));
        return Err(Failure::usage(what).hint("see --cert and --key"));
    };
    let wrong = |value: &Value<PathBuf>, option: &str, error: mqtt_broker::TlsError| {
        Failure::usage(format_args!("{}: {error}", file.name(value, option)))
    };
    let mut identity = TlsIdentity::files(&cert.value, &key.value).map_err(|error| {
        // Whichever of the two it is about.
        let about_key = error.to_string().contains(&*key.value.to_string_lossy());
        if about_key { wrong(key, "key", error) } else { wrong(cert, "cert", error) }
    })?;
    if let Some(authority) = &settings.client_ca {
        let with = identity.client_ca_file(&authority.value);
        identity = with.map_err(|error| wrong(authority, "client-ca", error))?;
    }
    let config = identity.build().map_err(|error| wrong(cert, "cert", error))?;
    Ok(Layers::new().tls(config))
}

/// A bare port is one of this machine only.
fn target(address: &str) -> Cow<'_, str> {
    match address.parse::<u16>() {
        Ok(port) => Cow::Owned(format!("127.0.0.1:{port}")),
        Err(_) => Cow::Borrowed(address),
    }
}

fn cannot_listen(
    what: &str,
    error: &ListenError,
    hint: fn(io::ErrorKind) -> Option<&'static str>,
) -> Failure {
    let failure = Failure::other(format_args!("{what}: {error}"));
    let ListenError::Bind(error) = error else { return failure };
    match hint(error.kind()) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

const fn of_address(error: io::ErrorKind) -> Option<&'static str> {
    match error {
        io::ErrorKind::AddrInUse => Some("is another broker running?"),
        io::ErrorKind::InvalidInput => Some("an address is HOST:PORT, as 0.0.0.0:1883"),
        io::ErrorKind::PermissionDenied => Some("a port above 1023 needs no rights"),
        _ => None,
    }
}

#[cfg(unix)]
const fn of_socket(error: io::ErrorKind) -> Option<&'static str> {
    match error {
        io::ErrorKind::AddrInUse => {
            Some("is another broker running? If not, remove what one has left there")
        }
        _ => None,
    }
}
