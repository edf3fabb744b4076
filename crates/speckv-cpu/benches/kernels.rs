//! Kernels alone: `cargo bench -p speckv-cpu`, or with a filter `cargo bench -p speckv-cpu --
//! product/Q4_K`.
//!
//! Bytes per second count the packed weights, or keys and values, that a call reads; items per
//! second count multiply-adds. Matrices are taken in turn from a set far larger than the caches, as
//! a pass over a model does, so that bytes come from memory. `SPECKV_ISA` chooses the instruction
//! set, `SPECKV_THREADS` the number of threads; the default is the best of what there is.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Arc, LazyLock, Mutex},
};

use divan::{
    Bencher, black_box,
    counter::{BytesCount, ItemsCount},
};
use speckv_cpu::{
    checked::{self, HeadCache},
    kernels::{Isa, activation::Activations},
    matrix::{Input, Matrix},
    pool::Pool,
};
use speckv_formats::{
    gguf::{Gguf, Writer},
    quant::{TensorType, random_blocks},
};

/// The feed-forward matrices of Qwen2.5 1.5B.
const ROWS: usize = 8960;
const COLUMNS: usize = 1536;

/// Bytes of weights in a set: several times what the caches of a large server core complex hold.
const SET_BYTES: usize = 192 << 20;

/// Rows of activations: plain decoding, small gammas, a whole tile and more.
const BATCHES: [usize; 7] = [1, 2, 5, 8, 9, 12, 16];

static POOL: LazyLock<Pool> = LazyLock::new(|| {
    let asked = std::env::var("SPECKV_THREADS").ok().and_then(|threads| threads.parse().ok());
    let threads =
        asked.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    Pool::new(threads).expect("threads")
});

static ISA: LazyLock<Isa> =
    LazyLock::new(|| Isa::from_environment().unwrap_or_else(|error| panic!("{error}")));

fn main() {
    eprintln!("{} threads, {}", POOL.threads(), *ISA);
    divan::main();
}

/// Values in -1..1 that do not repeat.
fn activations(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.7131).sin() * (i as f32 * 0.0137).cos()).collect()
}

#[derive(Clone, Copy)]
struct Case {
    tensor_type: TensorType,
    n: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} n={}", self.tensor_type.name(), self.n)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    TensorType::ALL.into_iter().flat_map(|tensor_type| BATCHES.map(|n| Case { tensor_type, n }))
}

/// Matrices of one type; the last set is kept, since cases come ordered by type and packing takes
/// longer than measuring.
fn matrices(tensor_type: TensorType) -> Arc<Vec<Matrix>> {
    static LAST: Mutex<Option<(TensorType, Arc<Vec<Matrix>>)>> = Mutex::new(None);
    let mut last = LAST.lock().expect("no panic while packing");
    if let Some((known, set)) = &*last
        && *known == tensor_type
    {
        return Arc::clone(set);
    }
    *last = None; // two sets at a time are not needed
    let bytes = random_blocks(tensor_type, ROWS * COLUMNS / tensor_type.block_len(), 7);
    let mut writer = Writer::new();
    writer.tensor("w", &[COLUMNS, ROWS], tensor_type, bytes).expect("a tensor");
    let file = Gguf::from_bytes(writer.to_bytes().expect("a file")).expect("a file");
    let pack =
        || Matrix::pack(&file.tensor("w").expect("the tensor"), None, None, &POOL).expect("memory");
    let first = pack();
    let count = SET_BYTES.div_ceil(first.byte_len());
    let set =
        Arc::new(std::iter::once(first).chain((1..count).map(|_| pack())).collect::<Vec<_>>());
    *last = Some((tensor_type, Arc::clone(&set)));
    set
}

#[divan::bench(args = cases(), sample_count = 50)]
fn product(bencher: Bencher, case: &Case) {
    let set = matrices(case.tensor_type);
    let exact = activations(case.n * COLUMNS);
    let mut quantized = Activations::default();
    checked::quantize(*ISA, &exact, COLUMNS, &mut quantized);
    let mut out = vec![0.0; case.n * ROWS];
    let mut next = 0;
    bencher
        .counter(BytesCount::new(set[0].byte_len()))
        .counter(ItemsCount::new(case.n * ROWS * COLUMNS))
        .bench_local(|| {
            next = (next + 1) % set.len();
            let input = Input::new(&quantized, &exact);
            checked::product(black_box(&set[next]), &POOL, *ISA, input, &mut out);
            black_box(&out);
        });
}

/// One key-value head of 128 values with the 6 queries of each row that share it, as Qwen2.5 1.5B
/// has.
#[divan::bench(args = [128, 2048], consts = [1, 5, 17])]
fn attention<const ROWS: usize>(bencher: Bencher, positions: usize) {
    const HEAD_DIM: usize = 128;
    const GROUP: usize = 6;
    let capacity = (positions + ROWS).next_multiple_of(16);
    let halves: Vec<u16> = activations(capacity * HEAD_DIM)
        .iter()
        .map(|&x| half::f16::from_f32(x).to_bits())
        .collect();
    let cache = HeadCache { keys: &halves, values: &halves.clone(), head_dim: HEAD_DIM };
    let queries = activations(ROWS * GROUP * HEAD_DIM);
    let visible: Vec<usize> =
        (0..ROWS * GROUP).map(|query| positions + 1 + query / GROUP).collect();
    let mut scores = Vec::new();
    let mut out = vec![0.0; queries.len()];
    let multiply_adds: usize = visible.iter().map(|visible| 2 * visible * HEAD_DIM).sum();
    bencher
        .counter(BytesCount::new(2 * 2 * (positions + ROWS) * HEAD_DIM))
        .counter(ItemsCount::new(multiply_adds))
        .bench_local(|| {
            checked::attention(
                *ISA,
                cache,
                black_box(&queries),
                &visible,
                0.088,
                &mut scores,
                &mut out,
            );
            black_box(&out);
        });
}

/// Items are elements.
#[divan::bench(args = [896, 1536, 8960])]
fn rms_norm(bencher: Bencher, columns: usize) {
    let (x, weight) = (activations(columns), activations(columns));
    let mut out = vec![0.0; columns];
    bencher.counter(ItemsCount::new(columns)).bench_local(|| {
        checked::rms_norm(*ISA, black_box(&x), &weight, 1e-6, &mut out);
        black_box(&out);
    });
}

/// Items are elements.
#[divan::bench(args = [896, 1536, 8960])]
fn quantize(bencher: Bencher, columns: usize) {
    let x = activations(columns);
    let mut out = Activations::default();
    bencher.counter(ItemsCount::new(columns)).bench_local(|| {
        checked::quantize(*ISA, black_box(&x), columns, &mut out);
        black_box(&out);
    });
}
