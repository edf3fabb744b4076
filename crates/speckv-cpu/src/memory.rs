//! Large buffers that start at a page, are zero, and take no memory until they are touched.

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
        // Streaming through 4 KiB pages spends a part of its time on address translation. A system without huge pages says no,
        // and nothing is lost.
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
