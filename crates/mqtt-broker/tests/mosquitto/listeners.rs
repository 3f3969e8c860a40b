//! mosquitto with a listener of each kind.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::certificates::{Authority, Identity, Valid};
use crate::process::Mosquitto;

/// mosquitto with a listener of each kind.
pub(crate) struct Listeners {
    pub(crate) mosquitto: Mosquitto,
    pub(crate) socket: PathBuf,
    pub(crate) authority: String,
    pub(crate) client: Identity,
}

impl Listeners {
    pub(crate) fn start() -> Listeners {
        let authority = Authority::new("test authority");
        let server = authority.sign(&["localhost", "127.0.0.1"], "localhost", Valid::Now);
        let client = authority.sign(&[], "a client", Valid::Now);
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // The path of a socket is short, so it is not in the folder of the build.
        let name = format!("mqtt-listeners-{}-{number}.sock", std::process::id());
        let socket = std::env::temp_dir().join(name);
        let mosquitto = Mosquitto::with(|folder, [tls, mutual, ws, wss]| {
            let write = |name: &str, text: &str| {
                let path = folder.join(name);
                fs::write(&path, text).unwrap();
                path.display().to_string()
            };
            let certificates = format!(
                "cafile {}\ncertfile {}\nkeyfile {}\n",
                write("ca.pem", &authority.certificate),
                write("server.pem", &server.certificate),
                write("server.key", &server.key),
            );
            write("client.pem", &client.certificate);
            write("client.key", &client.key);
            // Without its domain, a WebSocket listens on all addresses.
            let websocket = "protocol websockets\nsocket_domain ipv4\n";
            format!(
                "listener {tls} 127.0.0.1\n{certificates}\
                 listener {mutual} 127.0.0.1\n{certificates}require_certificate true\n\
                 listener {ws} 127.0.0.1\n{websocket}\
                 listener {wss} 127.0.0.1\n{websocket}{certificates}\
                 listener 0 {}\n",
                socket.display()
            )
        });
        Listeners { mosquitto, socket, authority: authority.certificate, client }
    }

    /// Returns the path of a file: `ca.pem`, `client.pem` or `client.key`.
    pub(crate) fn file(&self, name: &str) -> String {
        self.mosquitto.folder.join(name).display().to_string()
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}
