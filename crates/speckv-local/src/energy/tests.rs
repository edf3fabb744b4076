use std::{fs, path::PathBuf, process::Command, time::Duration};

use super::*;

/// A powercap tree with one package that has a part, memory, and a platform.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Tree(tempfile::tempdir().expect("a folder"));
        for (zone, name, energy) in [
            ("intel-rapl:0", "package-0", 900),
            ("intel-rapl:0:0", "core", 500),
            ("intel-rapl:0:1", "dram", 100),
            ("intel-rapl:1", "psys", 5000),
        ] {
            tree.put(zone, "name", name);
            tree.put(zone, "max_energy_range_uj", "1000000000");
            tree.count(zone, energy * 1_000_000);
        }
        std::fs::create_dir(tree.0.path().join("intel-rapl")).expect("the control type");
        tree
    }

    fn put(&self, zone: &str, file: &str, text: &str) {
        let folder = self.0.path().join(zone);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(file), format!("{text}\n")).expect("a file");
    }

    fn count(&self, zone: &str, microjoules: u64) {
        self.put(zone, "energy_uj", &microjoules.to_string());
    }

    fn counter(&self) -> EnergyCounter {
        EnergyCounter::open_in(self.0.path()).expect("a counter")
    }
}

#[test]
fn packages_and_memory_are_counted_once() {
    let tree = Tree::new();
    let mut counter = tree.counter();
    assert_eq!(counter.source(), "Linux powercap: package-0, dram");
    assert_eq!(counter.joules(), Ok(0.0));
    tree.count("intel-rapl:0", 903_500_000);
    tree.count("intel-rapl:0:0", 999_000_000); // part of the package
    tree.count("intel-rapl:0:1", 101_000_000);
    tree.count("intel-rapl:1", 9_999_000_000); // the platform holds both
    assert_eq!(counter.joules(), Ok(4.5));
}

#[test]
fn a_counter_that_begins_again_goes_on() {
    let tree = Tree::new();
    let mut counter = tree.counter();
    tree.count("intel-rapl:0", 50_000_000); // 900 J to the end of 1000 J, and 50 J
    assert_eq!(counter.joules(), Ok(150.0));
    tree.count("intel-rapl:0", 60_000_000);
    assert_eq!(counter.joules(), Ok(160.0));
}

#[test]
fn idle_watts_are_subtracted_and_never_make_less_than_nothing() {
    let energy = Energy { joules: 50.0, idle_watts: 10.0, seconds: 2.0, source: String::new() };
    assert_eq!(energy.net_joules(), 30.0);
    assert_eq!(Energy { joules: 5.0, ..energy }.net_joules(), 0.0);
    let tree = Tree::new();
    let mut meter = EnergyMeter::start(tree.counter(), Duration::ZERO).expect("a meter");
    tree.count("intel-rapl:0:1", 107_000_000);
    let energy = meter.so_far().expect("readable");
    assert_eq!((energy.joules, energy.idle_watts), (7.0, 0.0));
    tree.count("intel-rapl:0", 905_000_000);
    assert_eq!(meter.so_far().expect("readable").joules, 12.0, "the work goes on");
}

#[test]
fn absence_and_refusal_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let absent = EnergyCounter::open_in(&folder.path().join("none")).expect_err("no folder");
    assert!(absent.to_string().starts_with("this machine lists no energy counter in "));
    assert!(EnergyCounter::open_in(folder.path()).is_err(), "an empty folder");
    let tree = Tree::new();
    tree.put("intel-rapl:0", "energy_uj", "many");
    let broken = EnergyCounter::open_in(tree.0.path()).expect_err("no number").to_string();
    assert!(broken.contains("energy_uj") && broken.contains("many"), "{broken}");
    fs::remove_file(tree.0.path().join("intel-rapl:0/energy_uj")).expect("removed");
    let refused = EnergyCounter::open_in(tree.0.path()).expect_err("no file").to_string();
    assert!(refused.contains("cannot be read"), "{refused}");
}

/// NVIDIA's library as this test needs it: two GPUs, the first without a counter. Each question for
/// the other's energy finds 2.5 joules more than the one before.
const LIBRARY: &str = r#"
use std::{ffi::c_void, sync::atomic::{AtomicU64, Ordering}};
static MILLIJOULES: AtomicU64 = AtomicU64::new(7_000_000);
#[unsafe(no_mangle)] pub extern "C" fn nvmlInit_v2() -> u32 { 0 }
#[unsafe(no_mangle)] pub extern "C" fn nvmlShutdown() -> u32 { 0 }
#[unsafe(no_mangle)] pub unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut u32) -> u32 {
    unsafe { *count = 2 }; 0
}
#[unsafe(no_mangle)] pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(
    index: u32, device: *mut *mut c_void) -> u32 {
    unsafe { *device = (index as usize + 1) as *mut c_void }; 0
}
#[unsafe(no_mangle)] pub unsafe extern "C" fn nvmlDeviceGetName(
    _: *mut c_void, name: *mut u8, length: u32) -> u32 {
    let text = b"NVIDIA Test\0";
    assert!(length as usize >= text.len());
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), name, text.len()) }; 0
}
#[unsafe(no_mangle)] pub unsafe extern "C" fn nvmlDeviceGetTotalEnergyConsumption(
    device: *mut c_void, energy: *mut u64) -> u32 {
    if device as usize == 1 { return 3 } // not supported
    unsafe { *energy = MILLIJOULES.fetch_add(2_500, Ordering::Relaxed) }; 0
}
"#;

/// Compiles the library, as the tests themselves are compiled on the machine that runs them.
fn library(folder: &Path) -> Option<PathBuf> {
    let (source, made) = (folder.join("nvml.rs"), folder.join("libmade.so"));
    fs::write(&source, LIBRARY).expect("a file");
    let mut rustc = Command::new(option_env!("RUSTC").unwrap_or("rustc"));
    rustc.args(["--edition=2024", "--crate-type=cdylib", "-o"]).arg(&made).arg(&source);
    rustc.status().is_ok_and(|status| status.success()).then_some(made)
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn gpus_are_counted_from_the_opening_on_and_named_beside_the_processor() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(library) = library(folder.path()) else {
        eprintln!("skipped: no rustc makes a library here");
        return;
    };
    let gpus = || Gpus::open_with(library.as_os_str()).expect("a GPU that counts");
    assert_eq!(gpus().names(), "NVIDIA Test", "the GPU without a counter is left out");
    let tree = Tree::new();
    let mut both =
        EnergyCounter::of(Zones::open_in(tree.0.path()), Some(gpus())).expect("a counter");
    assert_eq!(both.source(), "Linux powercap: package-0, dram; NVML: NVIDIA Test");
    assert_eq!(both.joules(), Ok(2.5));
    tree.count("intel-rapl:0", 901_000_000);
    assert_eq!(both.joules(), Ok(6.0));
    let none = Zones::open_in(&folder.path().join("none"));
    let mut alone = EnergyCounter::of(none, Some(gpus())).expect("GPUs alone");
    assert_eq!((alone.source().as_str(), alone.joules()), ("NVML: NVIDIA Test", Ok(2.5)));
}

#[test]
fn without_the_driver_there_are_no_gpus() {
    assert!(Gpus::open_with("libnone-of-this-name.so".as_ref()).is_none());
}
