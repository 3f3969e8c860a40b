//! The standard output, which may be a pipe that nobody reads any more.

use std::io::{self, Write};
use std::process;

use crate::failure::Failure;

/// Writes it all, now. If nobody reads any more, the program ends, quietly: `mqtt sub … | head` is no error.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => {
            Err(Failure::other(format_args!("cannot write to the standard output: {error}")))
        }
    }
}
