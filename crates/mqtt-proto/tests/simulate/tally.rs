//! What a simulation has done, for the eyes of whoever runs it.

use std::fmt;
use std::ops::AddAssign;

macro_rules! tally {
    ($($name:ident $text:literal,)*) => {
        /// Counts of what happened.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Tally {
            $(pub $name: u64,)*
        }

        impl AddAssign for Tally {
            fn add_assign(&mut self, other: Tally) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Tally {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let counts = [$((self.$name, $text),)*];
                let texts: Vec<String> =
                    counts.iter().map(|(count, text)| format!("{count} {text}")).collect();
                f.write_str(&texts.join(", "))
            }
        }
    };
}

tally! {
    runs "runs",
    steps "steps",
    connections "connections",
    packets "packets",
    published "messages accepted",
    messages "messages delivered",
    cuts "cuts",
    stalls "stalls",
    crashes "crashes",
    restarts "restarts",
    forgotten "sessions ended",
    jumps "clock jumps",
    refusals "refused connections",
    refused "refused messages",
    full "publishes while full",
    cancelled "cancelled",
}

impl Tally {
    /// How many faults were injected.
    pub const fn faults(&self) -> u64 {
        self.cuts
            + self.stalls
            + self.crashes
            + self.restarts
            + self.forgotten
            + self.jumps
            + self.refusals
            + self.refused
    }
}
