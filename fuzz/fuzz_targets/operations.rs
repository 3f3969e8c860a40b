//! Anything that can happen to a client and a server with a wire between them: no message is lost or
//! comes twice, every command has one outcome, and in the end nothing is left.

#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_fuzz::operation::Operation;
use mqtt_fuzz::pair::Pair;
use mqtt_fuzz::setup::Setup;

fuzz_target!(|input: Input| {
    let mut pair = Pair::new(input.setup);
    for operation in input.operations {
        pair.apply(operation);
    }
    pair.rest();
});

#[derive(Debug)]
struct Input {
    setup: Setup,
    operations: Vec<Operation>,
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Input> {
        let setup = u.arbitrary()?;
        let mut operations = Vec::new();
        while !u.is_empty() {
            operations.push(u.arbitrary()?);
        }
        Ok(Input { setup, operations })
    }
}
