//! A row's blocks as a file stores them, taken apart into the words of the planes.

use speckv_formats::quant::{
    TensorType, WeightType, iq4_nl, nf4, q2k, q3k, q4_0, q4_1, q4k, q5_0, q5_1, q5k, q6k, q8_0,
};

/// The integers, scales and minima of 32, 64 or 256 columns of one row.
pub(super) struct Unit {
    /// Integers before the offset, in the order of the columns.
    pub q: [u8; 256],
    /// Words of the scale plane that belong to these columns alone.
    pub scales: [u32; 4],
    /// Word of the plane of the scales of scales.
    pub top: u32,
}

fn half(value: f32) -> u32 {
    u32::from(half::f16::from_f32(value).to_bits())
}

fn halves(low: f32, high: f32) -> u32 {
    half(low) | half(high) << 16
}

fn words(bytes: [u8; 16]) -> [u32; 4] {
    let words = bytes.as_chunks::<4>().0;
    [0, 1, 2, 3].map(|i| u32::from_le_bytes(words[i]))
}

/// `d`, `dmin` and the 12 bytes of six-bit scales and minima that follow them in a block.
fn six(d: f32, dmin: f32, packed: &[u8]) -> [u32; 4] {
    let mut bytes = [0; 16];
    bytes[4..].copy_from_slice(packed);
    let mut words = words(bytes);
    words[0] = halves(d, dmin);
    words
}

impl Unit {
    /// Zeros.
    pub(super) const ZERO: Unit = Unit { q: [0; 256], scales: [0; 4], top: 0 };

    /// The numbers of one block of the file.
    ///
    /// # Panics
    /// If `block` is no whole block of the type, or the type is one of floats.
    pub(super) fn read(&mut self, weight_type: WeightType, block: &[u8]) {
        macro_rules! block {
            ($module:ident) => {
                $module::unpack(block.try_into().expect("a whole block"))
            };
        }
        match weight_type {
            WeightType::Nf4 => {
                let block = block!(nf4);
                self.set(&block.q, [half(block.absmax / 127.0), 0, 0, 0], 0);
            }
            WeightType::File(TensorType::Q8_0) => {
                let block = block!(q8_0);
                self.set(&block.q.map(|q| q as u8), [half(block.d), 0, 0, 0], 0);
            }
            WeightType::File(TensorType::Q4_0) => {
                let block = block!(q4_0);
                self.set(&block.q, [half(block.d), 0, 0, 0], 0);
            }
            WeightType::File(TensorType::Q4_1) => {
                let block = block!(q4_1);
                self.set(&block.q, [halves(block.d, block.m), 0, 0, 0], 0);
            }
            WeightType::File(TensorType::Q5_0) => {
                let block = block!(q5_0);
                self.set(&block.q, [half(block.d), 0, 0, 0], 0);
            }
            WeightType::File(TensorType::Q5_1) => {
                let block = block!(q5_1);
                self.set(&block.q, [halves(block.d, block.m), 0, 0, 0], 0);
            }
            WeightType::File(TensorType::Iq4Nl) => {
                let block = block!(iq4_nl);
                self.set(&block.q, [half(block.d), 0, 0, 0], 0);
            }
            WeightType::File(TensorType::Q2K) => {
                let numbers = block!(q2k);
                let bytes = block[..16].try_into().expect("16 bytes");
                self.set(&numbers.q, words(bytes), halves(numbers.d, numbers.dmin));
            }
            WeightType::File(TensorType::Q3K) => {
                let block = block!(q3k);
                self.set(&block.q, words(block.scales.map(|s| s as u8)), half(block.d));
            }
            WeightType::File(TensorType::Q4K) => {
                let numbers = block!(q4k);
                self.set(&numbers.q, six(numbers.d, numbers.dmin, &block[4..16]), 0);
            }
            WeightType::File(TensorType::Q5K) => {
                let numbers = block!(q5k);
                self.set(&numbers.q, six(numbers.d, numbers.dmin, &block[4..16]), 0);
            }
            WeightType::File(TensorType::Q6K) => {
                let block = block!(q6k);
                self.set(&block.q, words(block.scales.map(|s| s as u8)), half(block.d));
            }
            WeightType::File(_) => panic!("{weight_type} has no blocks of integers"),
        }
    }

    fn set(&mut self, q: &[u8], scales: [u32; 4], top: u32) {
        self.q[..q.len()].copy_from_slice(q);
        self.scales = scales;
        self.top = top;
    }
}
