//! Runs measurements: `benches [NAME | all] [--rounds N] [--only PART]`.

use std::error::Error;
use std::{env, io};

use mqtt_benches::codec;
use mqtt_benches::measure::{Options, bench};

const USAGE: &str = "usage: benches [codec | all] [--rounds N] [--only PART OF A CASE'S NAME]";

/// Each measurement by its name.
const BENCHES: &[(&str, fn(&Options) -> io::Result<()>)] =
    &[("codec", |options| bench("codec", codec::cases(), options).map(drop))];

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options { rounds: 31, only: String::new() };
    let mut name = String::from("all");
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(USAGE);
        match arg.as_str() {
            "--rounds" => options.rounds = value()?.parse()?,
            "--only" => options.only = value()?,
            other if other.starts_with('-') => return Err(USAGE.into()),
            other => name = other.into(),
        }
    }
    let mut any = false;
    for (known, run) in BENCHES {
        if name == "all" || name == *known {
            any = true;
            run(&options)?;
        }
    }
    if any { Ok(()) } else { Err(USAGE.into()) }
}
