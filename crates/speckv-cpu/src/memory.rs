//! Large buffers that start at a page, are zero, and take no memory until they are touched; and one
//! heap for all that is small.

use memmap2::{MmapMut, MmapOptions};

/// Anonymous memory for weights and caches.
#[derive(Debug)]
pub struct Memory {
    map: Option<MmapMut>, // none if empty
}

impl Memory {
    /// `len` zero bytes.
    ///
    /// # Errors
    /// The system's, if it refuses.
    pub fn zeroed(len: usize) -> std::io::Result<Self> {
        if len == 0 {
            return Ok(Memory { map: None });
        }
        let map = MmapOptions::new().len(len).map_anon()?;
        // Reading through 4 KiB pages spends a part of its time on address translation. A system
        // without huge pages refuses, which changes nothing else.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Memory { map: Some(map) })
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// Its bytes, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.map.as_deref_mut().unwrap_or_default()
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_none()
    }
}

/// Bytes that macOS can give before it is short of memory: the share that it states as free, of all
/// memory. `None` if it does not say.
#[cfg(target_os = "macos")]
#[must_use]
pub fn available() -> Option<u64> {
    let percent = crate::sysctl::number(c"kern.memorystatus_level")?.min(100);
    Some(crate::sysctl::number(c"hw.memsize")? / 100 * percent)
}

/// From now on, all threads of the process allocate from one heap, where the C library is glibc;
/// elsewhere nothing happens. For programs that run long with many threads, to be called before
/// they start others.
///
/// By default glibc gives nearly every thread a heap of its own and reuses it for later threads.
/// Once a large block was freed, which happens while a model is loaded, it returns next to nothing
/// of these heaps to the system. Each heap then grows to the largest request that any of its
/// threads ever worked on: a server's memory rises for a quarter of an hour, by the number of its
/// threads. Threads that share a heap wait for each other, but for requests only: a pass over a
/// model allocates nothing.
pub fn share_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two numbers and may be called at any time; a setting that the library
    // does not know has no effect.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
