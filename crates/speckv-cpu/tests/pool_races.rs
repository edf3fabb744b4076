//! The pool and its disjoint parts without a test harness, so that ThreadSanitizer sees the threads
//! of the pool and nothing else: `.ci/sanitize` compiles this file by itself.
//!
//! Each section reads what other threads wrote in the one before. If the pool's atomics did not
//! order sections, that would be a data race.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    reason = "parts of a library, as they are, without a harness for their unit tests"
)]

#[path = "../src/disjoint.rs"]
mod disjoint;
#[path = "../src/pool.rs"]
mod pool;

use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use disjoint::DisjointMut;
use pool::Pool;

const ROWS: usize = 13;
const WIDTH: usize = 5;

/// One section: row `r` becomes what row `r + 1` was, plus one.
fn advance(pool: &Pool, before: &[u64], after: &mut [u64]) {
    let rows = DisjointMut::new(after);
    pool.run(ROWS, &|row, _| {
        // SAFETY: each task has another row.
        let to = unsafe { rows.row(row, WIDTH) };
        for column in 0..WIDTH {
            to[column] = before[(row + 1) % ROWS * WIDTH + column] + 1;
        }
    });
}

fn sections_see_what_earlier_ones_wrote(threads: usize) {
    let pool = Pool::new(NonZeroUsize::new(threads).expect("some threads")).expect("threads");
    let mut now: Vec<u64> = (0..ROWS * WIDTH).map(|i| (i / WIDTH) as u64).collect();
    let mut next = vec![0; ROWS * WIDTH];
    let rounds = 300;
    for round in 0..rounds {
        if round % 100 == 99 {
            std::thread::sleep(Duration::from_millis(20)); // workers park
        }
        advance(&pool, &now, &mut next);
        std::mem::swap(&mut now, &mut next);
        if round % 50 == 25 {
            let failed = catch_unwind(AssertUnwindSafe(|| {
                pool.run(ROWS, &|task, _| assert!(task % 4 != 0, "task {task}"));
            }));
            assert!(failed.is_err(), "a panic reaches the caller");
        }
    }
    for (i, &value) in now.iter().enumerate() {
        let expected = (i / WIDTH + rounds) % ROWS + rounds;
        assert_eq!(value, expected as u64, "value {i} on {threads} threads");
    }
}

fn main() {
    // Without a message, as standard error is shared by threads in ways that are not seen here.
    std::panic::set_hook(Box::new(|_| {}));
    for threads in [1, 2, 3, 4] {
        sections_see_what_earlier_ones_wrote(threads);
    }
    println!("test result: ok. 4 passed; 0 failed");
}
