//! stub
use crate::{args::ReplayArgs, failure::Outcome, printer::Printer};
pub(super) fn run(_: &ReplayArgs, _: &Printer) -> Outcome<()> {
    Ok(())
}
