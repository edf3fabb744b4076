//! `memory::share_heap` in a process of its own: the harness of other tests starts threads, each
//! with a heap, before a test begins.

fn main() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    small_blocks_of_all_threads_lie_in_the_process_heap();
}

/// The oracle is the kernel's list of mappings, where the heap that a process starts with has the
/// name `[heap]`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn small_blocks_of_all_threads_lie_in_the_process_heap() {
    use std::{sync::Barrier, thread};

    const THREADS: usize = 8;

    speckv_cpu::memory::share_heap();
    let all_hold = Barrier::new(THREADS);
    let addresses: Vec<usize> = thread::scope(|scope| {
        let hold = || {
            let block = vec![1u8; 3000];
            all_hold.wait(); // none has given its heap back before all have one
            block.as_ptr() as usize
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(hold)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let maps = std::fs::read_to_string("/proc/self/maps").expect("a list of mappings");
    let line = maps.lines().find(|line| line.ends_with("[heap]")).expect("a heap");
    let (start, end) =
        line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
    let number = |text| usize::from_str_radix(text, 16).expect("a hexadecimal number");
    let heap = number(start)..number(end);
    for address in addresses {
        assert!(heap.contains(&address), "{address:x} is outside {heap:x?}");
    }
}
