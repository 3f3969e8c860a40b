//! A broker on a TCP address: `cargo run -p mqtt-broker --example broker -- 127.0.0.1:1883`.

use mqtt_broker::{Broker, BrokerConfig, ListenError};

fn main() -> Result<(), ListenError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let (broker, driver) = Broker::new(BrokerConfig::default());
    println!("listening on mqtt://{}", broker.listen(address)?);
    smol::block_on(driver);
    Ok(())
}
