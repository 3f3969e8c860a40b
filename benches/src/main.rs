//! Runs measurements: `benches [NAME | all] [--rounds N] [--only PART]`.

use std::error::Error;
use std::{env, io};

use mqtt_benches::measure::{Options, bench, gather};
use mqtt_benches::{client, codec, growth, router, session};

const USAGE: &str = "usage: benches [codec | session | router | growth | client | all] [--rounds N] [--only PART OF A CASE'S NAME]";

type Bench = fn(&Options) -> io::Result<()>;

/// Each measurement by its name.
const BENCHES: &[(&str, Bench)] = &[
    ("codec", |options| bench("codec", codec::cases(), options).map(drop)),
    ("session", |options| bench("session", session::cases(), options).map(drop)),
    ("router", |options| bench("router", router::cases(), options).map(drop)),
    ("growth", growth::bench),
    ("client", |options| {
        client::bench(&Options { rounds: options.rounds.min(5), ..options.clone() })
    }),
];

fn main() -> Result<(), Box<dyn Error>> {
    // What runs in processes of their own.
    let args: Vec<String> = env::args().skip(1).collect();
    match args.split_first() {
        Some((first, _)) if first == "sink" => return Ok(client::serve()?),
        Some((first, rest)) if first == "feed" => return client::feed(rest),
        Some((first, rest)) if first == "spin" => return client::spin(rest),
        Some((first, rest)) if first == "one" => return client::one(rest),
        _ => {}
    }
    let mut options = Options { rounds: 31, only: String::new() };
    let mut name = String::from("all");
    let mut args = args.into_iter();
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
    gather()?;
    if any { Ok(()) } else { Err(USAGE.into()) }
}
