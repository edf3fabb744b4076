//! The stream of random numbers that NumPy's `RandomState` makes.
//!
//! The paper's scripts drew everything from it (seed 42). With the same stream a split, an
//! initialisation and an order of minibatches are the paper's own, and its numbers come back to the
//! printed digit instead of to "about the same".

const WORDS: usize = 624;
const MIDDLE: usize = 397;

/// MT19937 (Matsumoto and Nishimura 1998), seeded and read as `numpy.random.RandomState` does.
#[derive(Debug, Clone)]
pub struct MersenneTwister {
    state: Box<[u32; WORDS]>,
    next: usize,
}

impl MersenneTwister {
    /// The stream of a seed, from its start.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        let mut state = Box::new([0; WORDS]);
        state[0] = seed;
        for index in 1..WORDS {
            let before = state[index - 1];
            state[index] =
                (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(index as u32);
        }
        MersenneTwister { state, next: WORDS }
    }

    /// The next 32 random bits.
    pub fn bits(&mut self) -> u32 {
        if self.next == WORDS {
            self.refill();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn refill(&mut self) {
        for index in 0..WORDS {
            let joined =
                (self.state[index] & 0x8000_0000) | (self.state[(index + 1) % WORDS] & 0x7fff_ffff);
            let twist = if joined & 1 == 0 { 0 } else { 0x9908_b0df };
            self.state[index] = self.state[(index + MIDDLE) % WORDS] ^ (joined >> 1) ^ twist;
        }
        self.next = 0;
    }

    /// A number in [0, 1), a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        let (high, low) = (self.bits() >> 5, self.bits() >> 6);
        (f64::from(high) * f64::from(1_u32 << 26) + f64::from(low)) / (1_u64 << 53) as f64
    }

    /// A whole number from 0 to `most`, each as likely: bits under the smallest mask, drawn again
    /// while they are above.
    pub fn up_to(&mut self, most: u32) -> u32 {
        if most == 0 {
            return 0;
        }
        let mask = u32::MAX >> most.leading_zeros();
        loop {
            let drawn = self.bits() & mask;
            if drawn <= most {
                return drawn;
            }
        }
    }

    /// An index below `count`, which must be above 0.
    ///
    /// # Panics
    /// If `count` is 0 or does not fit 32 bits.
    pub fn index(&mut self, count: usize) -> usize {
        let most = u32::try_from(count).ok().and_then(|count| count.checked_sub(1));
        self.up_to(most.expect("a count from 1 to 2^32 - 1")) as usize
    }

    /// Brings values into a random order (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            let other = self.index(last + 1);
            values.swap(last, other);
        }
    }

    /// The numbers below `count` in a random order.
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Oracle: the reference implementation's first output for seed 5489, and the 10,000th that the
    /// C++ standard prescribes for `mt19937`.
    #[test]
    fn the_bits_are_those_of_the_published_generator() {
        let mut stream = MersenneTwister::new(5489);
        assert_eq!(stream.bits(), 3_499_211_612);
        for _ in 0..9_998 {
            stream.bits();
        }
        assert_eq!(stream.bits(), 4_123_659_995);
    }

    /// Oracle: NumPy 2.4, `RandomState(42)`: `random_sample(3)`, `permutation(8)`, `randint(0,
    /// 1000, 5)`, each on a fresh state.
    #[test]
    fn numbers_orders_and_indices_are_those_of_numpy() {
        let mut stream = MersenneTwister::new(42);
        let uniform = [stream.uniform(), stream.uniform(), stream.uniform()];
        assert_eq!(
            uniform,
            [0.374_540_118_847_362_5, 0.950_714_306_409_916_2, 0.731_993_941_811_405_1]
        );
        assert_eq!(MersenneTwister::new(42).permutation(8), [1, 5, 0, 7, 2, 4, 3, 6]);
        let mut stream = MersenneTwister::new(42);
        let drawn: Vec<usize> = (0..5).map(|_| stream.index(1000)).collect();
        assert_eq!(drawn, [102, 435, 860, 270, 106]);
    }

    #[test]
    fn an_index_stays_below_its_count() {
        let mut stream = MersenneTwister::new(1);
        assert_eq!(stream.index(1), 0);
        assert!((0..2000).all(|_| stream.index(5) < 5));
        assert!((0..100).all(|_| stream.up_to(u32::MAX - 1) < u32::MAX));
    }
}
