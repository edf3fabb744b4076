//! Ctrl-C: the first asks the work to stop, the second ends the process.

#![expect(clippy::disallowed_methods, reason = "a second Ctrl-C ends the process at once")]

use speckv_local::interrupt::Interrupt;

/// Exit status of a process ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// An interrupt that Ctrl-C raises. A second Ctrl-C before [`Interrupt::clear`] ends the process
/// with status 130. Only the first call in a process is tied to the key.
#[must_use]
pub fn install() -> Interrupt {
    let interrupt = Interrupt::new();
    let in_handler = interrupt.clone();
    // Where no handler can be set, Ctrl-C keeps its default meaning and ends the process.
    let _ = ctrlc::set_handler(move || {
        if in_handler.raise() {
            std::process::exit(INTERRUPTED);
        }
    });
    interrupt
}
