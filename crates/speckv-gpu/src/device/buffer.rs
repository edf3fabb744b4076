//! Memory of a device.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{Device, Recorder, TIME_LIMIT};
use crate::error::GpuError;

/// Bytes that are on their way to the device at most.
const STAGING_BYTES: usize = 64 << 20;

/// How long an answer is waited for before the device is asked again.
const ANSWER_WAIT: Duration = Duration::from_millis(2);

/// A piece of device memory; zero when it is made.
#[derive(Debug, Clone)]
pub struct Buffer {
    pub(super) inner: wgpu::Buffer,
}

impl Buffer {
    /// Its size in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.inner.size()
    }

    /// Whether it has no bytes. No buffer is made so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A buffer that the host can read after a pass.
#[derive(Debug)]
pub struct Reading {
    inner: wgpu::Buffer,
}

impl Device {
    /// Memory that kernels read and write, in bytes.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`].
    pub fn buffer(&self, what: &str, bytes: u64) -> Result<Buffer, GpuError> {
        self.create(what, bytes, wgpu::BufferUsages::STORAGE)
    }

    /// Numbers that a kernel's threads share.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`].
    pub fn uniform(&self, what: &str, words: &[u32]) -> Result<Buffer, GpuError> {
        let mut padded = words.to_vec();
        padded.resize(words.len().next_multiple_of(4), 0);
        let buffer = self.create(what, padded.len() as u64 * 4, wgpu::BufferUsages::UNIFORM)?;
        self.write(&buffer, 0, &padded);
        Ok(buffer)
    }

    /// Entries of [`OFFSET_STEP`](super::OFFSET_STEP) bytes that kernels read at dynamic offsets.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`].
    pub fn uniforms(&self, what: &str, entries: usize) -> Result<Buffer, GpuError> {
        let bytes = entries as u64 * super::OFFSET_STEP;
        self.create(what, bytes, wgpu::BufferUsages::UNIFORM)
    }

    /// A buffer that holds these words.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`], or what [`upload`](Self::upload) says.
    pub fn filled(&self, what: &str, words: &[u32]) -> Result<Buffer, GpuError> {
        let buffer = self.buffer(what, words.len().max(1) as u64 * 4)?;
        self.upload(&buffer, 0, words)?;
        Ok(buffer)
    }

    /// Memory for the host to read results from.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`].
    pub fn reading(&self, bytes: u64) -> Result<Reading, GpuError> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let inner = self.raw("results", bytes, usage)?;
        Ok(Reading { inner })
    }

    fn create(
        &self,
        what: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<Buffer, GpuError> {
        let copies = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        Ok(Buffer { inner: self.raw(what, bytes, usage | copies)? })
    }

    fn raw(
        &self,
        what: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, GpuError> {
        let size = bytes.max(16).next_multiple_of(16);
        if size > self.limits.max_buffer_size {
            return Err(GpuError::OutOfMemory { what: what.to_owned(), bytes });
        }
        let descriptor =
            wgpu::BufferDescriptor { label: Some(what), size, usage, mapped_at_creation: false };
        self.scoped(what, bytes, || self.device.create_buffer(&descriptor))
    }

    /// Writes words at a byte offset, before the next commands run.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn write(&self, buffer: &Buffer, offset: u64, words: &[u32]) {
        assert!(offset + words.len() as u64 * 4 <= buffer.len(), "a write fits its buffer");
        if !words.is_empty() {
            self.queue.write_buffer(&buffer.inner, offset, bytemuck::cast_slice(words));
        }
    }

    /// Copies words to the device, in pieces, and waits: for weights.
    ///
    /// # Errors
    /// A lost device or a time-out.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn upload(&self, buffer: &Buffer, offset: u64, words: &[u32]) -> Result<(), GpuError> {
        let mut at = offset;
        for piece in words.chunks(STAGING_BYTES / 4) {
            self.write(buffer, at, piece);
            at += piece.len() as u64 * 4;
            let index = self.queue.submit([]);
            self.wait(Some(index))?;
        }
        Ok(())
    }

    /// Submits the commands, waits, and gives the words of `reading` to `read`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_and_read<T>(
        &self,
        recorder: Recorder<'_>,
        reading: &Reading,
        bytes: u64,
        read: impl FnOnce(&[u32]) -> T,
    ) -> Result<T, GpuError> {
        let commands = recorder.finish();
        self.check()?;
        let index = self.queue.submit([commands]);
        let slice = reading.inner.slice(..bytes);
        let (sender, receiver) = mpsc::channel();
        slice.map_async(wgpu::MapMode::Read, move |result| {
            // The receiver lives until the wait below has ended; a late answer may be lost.
            let _ = sender.send(result);
        });
        let refused = |reason: String| GpuError::Refused { what: "reading results".into(), reason };
        match self.wait(Some(index)).and_then(|()| self.answer_of(&receiver)) {
            Ok(answer) => answer.map_err(|error| refused(error.to_string()))?,
            Err(error) => {
                // What is mapped, or will be, cannot be copied to by a later pass.
                if !matches!(receiver.try_recv(), Ok(Err(_))) {
                    reading.inner.unmap();
                }
                return Err(error);
            }
        }
        let view = slice.get_mapped_range().map_err(|error| refused(error.to_string()))?;
        let value = read(bytemuck::cast_slice(&view));
        drop(view);
        reading.inner.unmap();
        Ok(value)
    }

    /// The answer to a request for mapped memory. Where several threads wait on the device, another
    /// one may be about to give it.
    fn answer_of<T>(&self, receiver: &mpsc::Receiver<T>) -> Result<T, GpuError> {
        let start = Instant::now();
        while start.elapsed() < TIME_LIMIT {
            match receiver.recv_timeout(ANSWER_WAIT) {
                Ok(answer) => return Ok(answer),
                Err(_) => {
                    self.check()?;
                    // What this says of the device comes out of the next check.
                    let _ = self.device.poll(wgpu::PollType::Poll);
                }
            }
        }
        Err(GpuError::TimedOut { limit: TIME_LIMIT })
    }

    /// The words of a part of a buffer: for tests and for rows that a caller asks for.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn read(&self, buffer: &Buffer, offset: u64, words: usize) -> Result<Vec<u32>, GpuError> {
        let bytes = words as u64 * 4;
        let reading = self.reading(bytes)?;
        let mut recorder = self.recorder();
        recorder.copy_to_host(buffer, offset, &reading, 0, bytes);
        self.run_and_read(recorder, &reading, bytes, <[u32]>::to_vec)
    }
}

impl Recorder<'_> {
    /// Copies a part of a buffer to memory for the host.
    pub fn copy_to_host(&mut self, from: &Buffer, offset: u64, to: &Reading, at: u64, bytes: u64) {
        self.encoder().copy_buffer_to_buffer(&from.inner, offset, &to.inner, at, bytes);
    }

    /// Copies a part of a buffer to another buffer.
    pub fn copy(&mut self, from: &Buffer, offset: u64, to: &Buffer, at: u64, bytes: u64) {
        self.encoder().copy_buffer_to_buffer(&from.inner, offset, &to.inner, at, bytes);
    }
}
