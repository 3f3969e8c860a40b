//! Clients from a URL.

use super::Client;
use crate::connect::{AnyConnector, Url, UrlError};
use crate::driver::Driver;

impl Client {
    /// Returns a client of the server at a URL, and its driver, over `async-io`; see [`Url`].
    ///
    /// Nothing happens before the driver is polled: as with [`Client::new`], whose other configuration is
    /// had with [`Url::config`].
    ///
    /// ```
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use mqtt_async::Client;
    ///
    /// let (client, driver) = Client::connect("mqtt://user:password@localhost?client_id=sensor-7")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The part of the URL that is wrong; what is wrong with the files that it names; or the feature that it
    /// needs.
    #[cfg(feature = "async-io")]
    pub fn connect(
        url: &str,
    ) -> Result<(Client, Driver<AnyConnector, crate::time::AsyncIoTimer>), UrlError> {
        let url = Url::new(url)?;
        Ok(Client::new(url.config(), url.connector()?))
    }

    /// Returns a client of the server at a URL, and its driver, over tokio; see [`Url`].
    ///
    /// Nothing happens before the driver is polled, which is inside a tokio runtime with time and I/O
    /// enabled. With another configuration: [`Url::config`], [`Url::tokio_connector`] and
    /// [`Client::with_timer`].
    ///
    /// # Errors
    ///
    /// As with [`Client::connect`].
    #[cfg(feature = "tokio")]
    pub fn connect_tokio(
        url: &str,
    ) -> Result<(Client, Driver<AnyConnector, crate::tokio::TokioTimer>), UrlError> {
        let url = Url::new(url)?;
        let timer = crate::tokio::TokioTimer::new();
        Ok(Client::with_timer(url.config(), url.tokio_connector()?, timer))
    }
}
