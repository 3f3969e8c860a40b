//! The ways to end a client.

use std::time::Duration;

use super::Client;
use crate::shared::Close;
use crate::shutdown::Shutdown;
use crate::tokens::Closing;

impl Client {
    /// Ends the client when everything that was accepted has its answer, or when the time is up; new
    /// commands are refused. Returns what is left then.
    ///
    /// Until then it is as [`drain`](Client::drain), over reconnects; after that as
    /// [`disconnect`](Client::disconnect), but no attempt to connect is waited for. The end of the connection
    /// may take [`close_timeout`](crate::Config::close_timeout) more. This takes effect at the call. If the
    /// client has ended already, the report says what it left.
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) {
    /// let report = client.shutdown(std::time::Duration::from_secs(5)).await;
    /// for publish in report.unsent {
    ///     println!("not sent: {publish:?}");
    /// }
    /// # }
    /// ```
    pub fn shutdown(&self, deadline: Duration) -> Shutdown {
        let shared = self.0.shared();
        let by = shared.now().checked_add(deadline);
        shared.command(|state| {
            state.close = state.close.max(Close::WhenIdle);
            // The earliest of several counts; what is too far away never comes.
            state.close_by = state.close_by.into_iter().chain(by).min();
        });
        Shutdown::new(shared)
    }

    /// Ends the client at once: the transport is closed without DISCONNECT, so that the server publishes
    /// the Will. Nothing more is sent.
    ///
    /// This takes effect at the call. MQTT 5.0 section 3.1.2.5.
    pub fn abort(&self) -> Closing {
        self.close(Close::Abort)
    }

    /// As [`disconnect`](Client::disconnect), but the server publishes the Will: DISCONNECT has the reason
    /// code 0x04.
    ///
    /// MQTT 3.x has no such DISCONNECT: there it is as [`abort`](Client::abort). MQTT 5.0 section 3.14.2.1.
    pub fn disconnect_with_will(&self) -> Closing {
        let shared = self.0.shared();
        shared.command(|state| {
            state.with_will = true;
            state.close = state.close.max(Close::Now);
        });
        Closing::new(shared)
    }
}
