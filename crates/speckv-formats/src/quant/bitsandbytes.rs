//! The 4 bits of bitsandbytes (Dettmers et al. 2023): a matrix read row by row as one list of
//! values, cut into blocks of B, each with 4 bits per value and one scale.
//!
//! ```text
//! value i      levels[code(i)] absmax(i / B)
//! code(i)      byte i / 2: the high half for even i, the low half for odd i
//! absmax(b)    f32, or, quantized once more in blocks of N: nested_levels[c(b)] nested_absmax[b / N] + offset
//! ```
//!
//! The levels are in the file: those of [NF4](nf4), or FP4's, which are 0, ± 1/192, ± 1/6, ± 1/4, ±
//! 1/3, ± 1/2, ± 2/3, ± 1. Blocks do not know rows: one may begin in a row and end in the next.
//! Products and sum are rounded to f32 one by one, as bitsandbytes does.

use super::nf4;

/// Values in this layout.
#[derive(Debug, Clone, Copy)]
pub struct FourBit<'a> {
    /// Two codes per byte.
    pub codes: &'a [u8],
    /// What the codes stand for.
    pub levels: &'a [f32; 16],
    /// Values per block, at least 1.
    pub block: usize,
    /// The blocks' scales.
    pub scales: Scales<'a>,
}

/// The scales of all blocks.
#[derive(Debug, Clone, Copy)]
pub enum Scales<'a> {
    /// Floats of 32 bits, little endian.
    Single(&'a [u8]),
    /// Quantized themselves ("double quantization").
    Double {
        /// One code per block.
        codes: &'a [u8],
        /// What the codes stand for.
        levels: &'a [f32; 256],
        /// Scales per block of scales, at least 1.
        block: usize,
        /// Scales of the blocks of scales: floats of 32 bits, little endian.
        absmax: &'a [u8],
        /// Added to every scale.
        offset: f32,
    },
}

fn float(bytes: &[u8], index: usize) -> f32 {
    let [a, b, c, d] = bytes.as_chunks().0[index];
    f32::from_le_bytes([a, b, c, d])
}

impl FourBit<'_> {
    /// The scale of a block.
    ///
    /// # Panics
    /// If there is no such block.
    #[must_use]
    pub fn absmax(&self, block: usize) -> f32 {
        match self.scales {
            Scales::Single(absmax) => float(absmax, block),
            Scales::Double { codes, levels, block: size, absmax, offset } => {
                levels[usize::from(codes[block])] * float(absmax, block / size) + offset
            }
        }
    }

    fn code(&self, i: usize) -> usize {
        let byte = self.codes[i / 2];
        usize::from(if i.is_multiple_of(2) { byte >> 4 } else { byte & 15 })
    }

    /// The values from `first` on.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn values(&self, first: usize, out: &mut [f32]) {
        let (mut block, mut absmax) = (usize::MAX, 0.0);
        for (i, out) in (first..).zip(out) {
            if i / self.block != block {
                block = i / self.block;
                absmax = self.absmax(block);
            }
            *out = self.levels[self.code(i)] * absmax;
        }
    }

    /// Whether these are the blocks of [`nf4`]: its levels, to 1e-6, and its length.
    #[must_use]
    pub fn is_nf4(&self) -> bool {
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6;
        self.block == nf4::LEN && self.levels.iter().zip(&nf4::LEVELS).all(near)
    }

    /// A block as that of [`nf4`], if [`is_nf4`](Self::is_nf4) says that it is one.
    ///
    /// # Panics
    /// If there is no such block, or if it is not whole.
    #[must_use]
    pub fn nf4_block(&self, block: usize) -> nf4::Block {
        let first = block * nf4::LEN;
        nf4::Block {
            absmax: self.absmax(block),
            q: std::array::from_fn(|i| self.code(first + i) as u8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_the_definition_wherever_one_begins_to_read() {
        let levels: [f32; 16] = std::array::from_fn(|i| (i as f32 - 6.5) / 8.0);
        let codes: Vec<u8> = (0..15).map(|i| (i * 37 + 11) as u8).collect();
        let nested: [f32; 256] = std::array::from_fn(|i| (i as f32 - 128.0) / 127.0);
        let scales: Vec<u8> = [0.5f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let double = Scales::Double {
            codes: &[3, 200, 128, 255],
            levels: &nested,
            block: 2,
            absmax: &scales,
            offset: 1.25,
        };
        let absmax = [-125.0 / 127.0 * 0.5 + 1.25, 72.0 / 127.0 * 0.5 + 1.25, 1.25, 2.0 + 1.25];
        let all = FourBit { codes: &codes, levels: &levels, block: 8, scales: double };
        for first in 0..29 {
            let mut got = vec![0.0; 29 - first];
            all.values(first, &mut got);
            for (i, got) in (first..).zip(got) {
                let byte = i32::from(codes[i / 2]);
                let code = if i % 2 == 0 { byte / 16 } else { byte % 16 };
                let expected = (f64::from(code) - 6.5) / 8.0 * absmax[i / 8];
                assert!((f64::from(got) - expected).abs() < 1e-6, "{i}: {got} for {expected}");
            }
        }
        assert!(!all.is_nf4());
    }

    #[test]
    fn nf4_comes_back_as_the_block_that_it_was() {
        let block = nf4::quantize(&std::array::from_fn(|i| ((i * 29 % 64) as f32 * 0.31).cos()));
        let codes: Vec<u8> = block.q.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        let absmax = block.absmax.to_le_bytes();
        let one = FourBit {
            codes: &codes,
            levels: &nf4::LEVELS,
            block: 64,
            scales: Scales::Single(&absmax),
        };
        assert!(one.is_nf4());
        assert_eq!(one.nf4_block(0), block);
        let mut values = [0.0; 64];
        one.values(0, &mut values);
        assert_eq!(values, block.values());
    }
}
