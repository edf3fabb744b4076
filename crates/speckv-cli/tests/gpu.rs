//! Answers on a GPU with the real binary, where the machine has an adapter, a software one included.
#![cfg(all(unix, feature = "gpu"))]

#[path = "support/process.rs"]
mod process;

use process::Desk;

/// Whether there is an adapter; says so where there is none.
fn has_adapter(desk: &Desk) -> bool {
    let some = desk.run(&["devices"]).succeeds().out.contains("gpu:0 ");
    if !some {
        eprintln!("skipped: no adapter (install mesa-vulkan-drivers and libvulkan1 for a test)");
    }
    some
}

#[test]
fn speculation_on_a_gpu_changes_no_token() {
    let desk = Desk::new();
    if !has_adapter(&desk) {
        return;
    }
    let words = [
        "identity",
        "--device",
        "gpu:0",
        "-m",
        "target.gguf",
        "-d",
        "draft.gguf",
        "--prompts",
        "1",
        "--threads-list",
        "1",
        "-n",
        "12",
        "--gammas",
        "1,3",
        "--json",
    ];
    let json = desk.run(&words).succeeds().json();
    assert_eq!(json["mismatches"], 0, "{json}");
    assert!(json["comparisons"].as_u64() >= Some(3), "{json}");
}

#[test]
fn an_answer_on_a_gpu_comes_and_is_the_same_again() {
    let desk = Desk::new();
    if !has_adapter(&desk) {
        return;
    }
    let words = ["run", "-q", "--device", "gpu:0", "-m", "target.gguf", "-n", "8", "Hello"];
    let once = desk.run(&words).succeeds().out;
    assert!(once.len() > 1 && once == desk.run(&words).succeeds().out, "{once:?}");
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let desk = Desk::new();
    let run = |device| desk.run(&["run", "--device", device, "-m", "target.gguf", "Hello"]);
    run("cuda").fails(2, &["cpu, gpu or gpu:N", "cuda"]);
    if has_adapter(&desk) {
        run("gpu:99").fails(1, &["99"]);
    }
}
