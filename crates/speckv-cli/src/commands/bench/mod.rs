//! `speckv bench`: measurements on this machine.

mod curve;

use crate::{args::BenchArgs, failure::Outcome, printer::Printer};

pub(super) fn run(args: &BenchArgs, printer: &Printer) -> Outcome<()> {
    curve::run(&args.curve, args, printer)
}
