//! Threads for kernels: few, long-lived, awake while a step runs.
//!
//! A pass over the weights is some 150 short parallel sections with little serial work between
//! them. Waking a thread by the operating system each time would cost more than many sections, so
//! workers spin for a moment after each section before they park.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{JoinHandle, Thread},
};

/// Turns of the spin loop before a worker parks: some 50 to 100 microseconds, longer than the work
/// between two sections of a pass.
const SPINS: u32 = 2_500;

/// Turns of the spin loop before the caller, waiting for the last tasks, yields its core. On a
/// machine with more runnable threads than cores, a worker may be waiting for that core.
const SPINS_OF_CALLER: u32 = 500;

/// A section's work: called with the number of each task, in any order, by any thread, and with the
/// number of that thread.
type Work = dyn Fn(usize, usize) + Sync;

struct Shared {
    /// The section in progress. Written by [`Pool::run`] before `epoch` moves; read by workers
    /// after they saw it move.
    work: Mutex<Option<&'static Work>>,
    tasks: AtomicUsize,
    next: AtomicUsize,
    epoch: AtomicUsize,
    busy: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
}

/// A fixed set of threads that share the tasks of one section after the other. The calling thread
/// works too.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    /// One section at a time; a second caller waits.
    turn: Mutex<()>,
}

impl Pool {
    /// A pool of `threads` threads, the calling one included.
    ///
    /// # Errors
    /// The system's, if it cannot start a thread.
    pub fn new(threads: NonZeroUsize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            work: Mutex::new(None),
            tasks: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            epoch: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let mut pool =
            Pool { shared, workers: Vec::new(), handles: Vec::new(), turn: Mutex::new(()) };
        for number in 1..threads.get() {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new()
                .name(format!("speckv-{number}"))
                .spawn(move || serve(&shared, number))?;
            pool.handles.push(worker.thread().clone());
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Threads that share the work.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work(task, thread)` once for every task below `tasks` and returns when all are done;
    /// no two calls at a time have the same `thread`, which is below [`threads`](Self::threads).
    /// Tasks are handed out one by one, so a thread that the system suspends delays the others by
    /// one task at most.
    ///
    /// # Panics
    /// If a task panicked.
    pub fn run(&self, tasks: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        if tasks == 0 {
            return;
        }
        if self.workers.is_empty() || tasks == 1 {
            (0..tasks).for_each(|task| work(task, 0));
            return;
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: workers use the reference only between `epoch` moving and `busy` reaching zero,
        // and this function does not return or unwind before that (`Finish` waits even when the
        // caller's own share panics).
        let work: &'static Work =
            unsafe { std::mem::transmute::<&(dyn Fn(usize, usize) + Sync), &'static Work>(work) };
        *shared.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
        // If the caller's own share of an earlier section panicked, the flag was not read.
        shared.panicked.store(false, Ordering::Relaxed);
        shared.tasks.store(tasks, Ordering::Relaxed);
        shared.next.store(0, Ordering::Relaxed);
        shared.busy.store(self.workers.len(), Ordering::Relaxed);
        shared.epoch.fetch_add(1, Ordering::SeqCst);
        self.handles.iter().for_each(Thread::unpark);
        let finish = Finish(shared);
        share(shared, work, 0);
        drop(finish);
        // Read before the next caller's section may change it.
        let panicked = shared.panicked.load(Ordering::Relaxed);
        drop(turn);
        assert!(!panicked, "a task panicked on another thread of the pool");
    }
}

/// Waits for the workers when the section ends, on whatever path.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut spins = 0u32;
        while self.0.busy.load(Ordering::Acquire) != 0 {
            spins = spins.saturating_add(1);
            if spins < SPINS_OF_CALLER { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        self.handles.iter().for_each(Thread::unpark);
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks, so that joining cannot fail.
            let _ = worker.join();
        }
    }
}

/// Takes tasks until none is left.
fn share(shared: &Shared, work: &Work, thread: usize) {
    let tasks = shared.tasks.load(Ordering::Relaxed);
    loop {
        let task = shared.next.fetch_add(1, Ordering::Relaxed);
        if task >= tasks {
            return;
        }
        work(task, thread);
    }
}

/// A worker: runs its share of each section until the pool is dropped.
fn serve(shared: &Shared, thread: usize) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while shared.epoch.load(Ordering::SeqCst) == seen {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::park();
            }
        }
        // Sections do not overlap, so the epoch moves by one at a time while this worker is waited
        // for.
        seen += 1;
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let work = *shared.work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(work) = work
            && std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                share(shared, work, thread)
            }))
            .is_err()
        {
            shared.panicked.store(true, Ordering::Relaxed);
        }
        shared.busy.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> Pool {
        Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap()
    }

    #[test]
    fn every_task_runs_exactly_once() {
        for threads in [1, 2, 3, 8] {
            let pool = pool(threads);
            for tasks in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, &|task, _| {
                    counts[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts.iter().all(|count| count.load(Ordering::Relaxed) == 1),
                    "{threads} threads, {tasks} tasks"
                );
            }
        }
    }

    #[test]
    fn sections_after_a_pause_wake_parked_workers() {
        let pool = pool(2);
        for _ in 0..3 {
            let sum = AtomicUsize::new(0);
            pool.run(100, &|task, _| {
                sum.fetch_add(task, Ordering::Relaxed);
            });
            assert_eq!(sum.load(Ordering::Relaxed), 4950);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn panics_on_several_threads_fail_their_own_section_only() {
        let pool = pool(3);
        for _ in 0..50 {
            let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                // Every thread panics in its first task, the caller too.
                pool.run(3, &|_, thread| {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    panic!("thread {thread}");
                });
            }));
            assert!(failed.is_err());
            let sum = AtomicUsize::new(0);
            pool.run(10, &|task, _| {
                sum.fetch_add(task, Ordering::Relaxed);
            });
            assert_eq!(sum.load(Ordering::Relaxed), 45);
        }
    }

    #[test]
    fn callers_on_several_threads_take_turns_and_get_their_own_panics() {
        let pool = pool(2);
        std::thread::scope(|scope| {
            for caller in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..100 {
                        let bad = (caller + round) % 5 == 0;
                        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                            pool.run(8, &|task, _| assert!(!(bad && task == 7), "task seven"));
                        }));
                        assert_eq!(run.is_err(), bad, "caller {caller}, round {round}");
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_pool_goes_on() {
        let pool = pool(2);
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.run(10, &|task, _| assert!(task != 5, "task five"));
        }));
        assert!(failed.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(10, &|task, _| {
            sum.fetch_add(task, Ordering::Relaxed);
        });
        assert_eq!(sum.load(Ordering::Relaxed), 45);
    }
}
