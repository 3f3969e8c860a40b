//! Who the client says it is, said again.

use super::Client;
use crate::error::CommandError;
use crate::shared::State;
use crate::tokens::Reauthenticating;

impl Client {
    /// Authenticates anew on this connection, as when a token runs out; messages go on meanwhile.
    ///
    /// The driver makes another [`Authenticator`](crate::Authenticator), which has to have the method that the
    /// connection began with. A server that refuses ends the connection. There is no need for it after a
    /// reconnect, which authenticates anyway. MQTT 5.0 section 4.12.1.
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.reauthenticate()?.await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// `NotConnected` if there is no connection, `NotSupported` if the driver has no
    /// [`authenticator`](crate::Driver::authenticator), `Unexpected` if it is under way already, `Closed`.
    pub fn reauthenticate(&self) -> Result<Reauthenticating, CommandError> {
        let shared = self.0.shared();
        let outcome = shared.command(State::reauthenticate)?;
        Ok(Reauthenticating::new(shared, outcome))
    }
}
