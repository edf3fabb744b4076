//! `speckv bench`: measurements on this machine.

mod compare;
mod curve;

use speckv_local::failure::Outcome;

use crate::{args::BenchArgs, printer::Printer};

pub(super) fn run(args: &BenchArgs, printer: &Printer) -> Outcome<()> {
    match &args.curve {
        Some(model) => curve::run(model, args, printer),
        None => compare::run(args, printer),
    }
}
