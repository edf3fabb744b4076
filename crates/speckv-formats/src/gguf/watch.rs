//! Ends the process with a message where a mapped file was truncated.
//!
//! Reading a mapped page that the file no longer has raises SIGBUS, which by default ends the
//! process without a word. Every map registers its range of addresses and a message; the handler of
//! the signal writes the message of the map that holds the faulting address and exits with
//! [`STATUS`]. A fault at any other address goes to the handler that was there before.

use std::{
    ffi::c_int,
    mem::MaybeUninit,
    ops::Range,
    path::Path,
    ptr,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicPtr, AtomicUsize, Ordering},
    },
};

/// Exit status of a process whose model file was truncated: that of every failure.
const STATUS: c_int = 1;

/// `start` of an entry that describes no map. No map starts at the last address.
const FREE: usize = usize::MAX;

/// A map that the handler knows. Entries are never freed, only used again.
struct Entry {
    start: AtomicUsize,
    end: AtomicUsize,
    /// Made by `Box::into_raw`; owned by the entry.
    message: AtomicPtr<Vec<u8>>,
    next: Option<&'static Entry>,
}

/// The list of all entries, newest first.
static ENTRIES: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());
/// Held by the thread that changes the list or an entry. The handler takes no lock.
static CHANGE: Mutex<()> = Mutex::new(());
/// What handled the signal before; null until the handler is installed.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// Keeps a map registered.
pub(super) struct Watch(&'static Entry);

impl Watch {
    /// Registers the map of the file `path` at these addresses.
    pub(super) fn new(addresses: Range<usize>, path: &Path) -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        let message = format!(
            "error: {} was truncated, or cannot be read any more, while it was in use\n\
             hint: put the whole file back and start again; replace a model file by renaming \
             another to its name\n",
            path.display()
        );
        let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
        let free = entries().find(|entry| entry.start.load(Ordering::Relaxed) == FREE);
        let entry = free.unwrap_or_else(|| {
            let entry: &'static Entry = Box::leak(Box::new(Entry {
                start: AtomicUsize::new(FREE),
                end: AtomicUsize::new(0),
                message: AtomicPtr::new(ptr::null_mut()),
                next: entries().next(),
            }));
            ENTRIES.store(ptr::from_ref(entry).cast_mut(), Ordering::Release);
            entry
        });
        entry.message.store(Box::into_raw(Box::new(message.into_bytes())), Ordering::Release);
        entry.end.store(addresses.end, Ordering::Release);
        entry.start.store(addresses.start, Ordering::Release);
        Watch(entry)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.start.store(FREE, Ordering::SeqCst);
        let message = self.0.message.swap(ptr::null_mut(), Ordering::SeqCst);
        // SAFETY: the pointer was made by `Box::into_raw` in `Watch::new` and is in no other place
        // now. The handler reads the message of an entry only on a thread that reads the map of
        // this entry, and the map's owner, who is dropping it, shares it with no thread any more.
        drop(unsafe { Box::from_raw(message) });
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// All entries. Takes no lock and allocates nothing, as the handler of a signal must not.
fn entries() -> impl Iterator<Item = &'static Entry> {
    // SAFETY: the pointer is null or comes from a leaked box, which lives for ever.
    let first = unsafe { ENTRIES.load(Ordering::Acquire).as_ref() };
    std::iter::successors(first, |entry| entry.next)
}

/// The message of the map that holds `address`.
fn message_at(address: usize) -> Option<&'static [u8]> {
    let holds = |entry: &&Entry| {
        let start = entry.start.load(Ordering::SeqCst);
        let inside = start <= address && address < entry.end.load(Ordering::SeqCst);
        // Start and end belong together if the start is still the same.
        inside && entry.start.load(Ordering::SeqCst) == start
    };
    let message = entries().find(holds)?.message.load(Ordering::SeqCst);
    // SAFETY: the pointer is null or the box of a registered map; its owner cannot drop it while
    // this thread reads the map, which is what it does, as the fault is at an address of the map.
    unsafe { message.as_ref() }.map(Vec::as_slice)
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the handler is installed with SA_SIGINFO, for which the system gives a valid
    // `siginfo_t` with the address of the fault.
    let address = unsafe { (*info).si_addr() } as usize;
    if let Some(message) = message_at(address) {
        // SAFETY: `write` and `_exit` may be called from a handler; the bytes are valid. What
        // cannot be written is lost: there is no other place for it.
        unsafe {
            libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
            libc::_exit(STATUS);
        }
    }
    // The fault repeats when this returns, and then goes to the previous handler.
    // SAFETY: `sigaction` may be called from a handler; the pointer is null or a leaked box that
    // holds what the system gave.
    unsafe { libc::sigaction(signal, PREVIOUS.load(Ordering::Acquire), ptr::null_mut()) };
}

/// Installs the handler. Where the system refuses, the signal keeps its meaning.
fn install() {
    let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeros is a valid `sigaction`: the default handler, no flags, an empty mask.
    let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the first call only asks, so that the handler has the previous action before it can
    // run; `action` holds a function with the signature that SA_SIGINFO demands, which only calls
    // functions that are allowed in handlers.
    unsafe {
        if libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr()) == 0 {
            PREVIOUS.store(Box::into_raw(Box::new(previous.assume_init())), Ordering::Release);
            libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_message_is_found_while_its_map_is_registered() {
        // Addresses that no map of this process has.
        let (first, second) =
            (Watch::new(16..32, "one".as_ref()), Watch::new(48..64, "two".as_ref()));
        let says = |address: usize| message_at(address).map(|text| String::from_utf8_lossy(text));
        assert!(says(16).is_some_and(|text| text.contains("one was truncated")));
        assert!(says(31).is_some_and(|text| text.contains("one was truncated")));
        assert!(says(48).is_some_and(|text| text.contains("two was truncated")));
        for address in [0, 15, 32, 47, 64, usize::MAX] {
            assert!(says(address).is_none(), "{address}");
        }
        drop(first);
        assert!(says(16).is_none());
        let again = Watch::new(20..24, PathBuf::from("three").as_path());
        assert!(says(20).is_some_and(|text| text.contains("three was truncated")));
        drop((second, again));
        assert!(says(20).is_none() && says(48).is_none());
    }

    #[test]
    fn entries_are_used_again() {
        let before = entries().count();
        for _ in 0..1000 {
            drop(Watch::new(80..96, "file".as_ref()));
        }
        // Other tests of this process may register maps at the same time.
        assert!(entries().count() < before + 100);
    }
}
