//! `speckv devices`, on a machine with or without a GPU.
#![cfg(feature = "gpu")]

use std::process::Command;

fn devices(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_speckv"))
        .arg("devices")
        .args(arguments)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_list_begins_with_the_processor_and_numbers_the_gpus() {
    let text = devices(&[]);
    let mut lines = text.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("cpu ")), "{text}");
    // What the self-test has found of a GPU is below its line.
    for (number, line) in lines.filter(|line| !line.starts_with(' ')).enumerate() {
        assert!(line.starts_with(&format!("gpu:{number} ")), "{text}");
    }
}

#[test]
fn the_json_lists_the_same_devices_as_the_text() {
    let json: serde_json::Value = serde_json::from_str(&devices(&["--json"])).expect("JSON");
    let listed = json["devices"].as_array().expect("a list");
    let text = devices(&[]);
    let of_devices = text.lines().filter(|line| !line.starts_with(' '));
    assert_eq!(listed.len() + 1, of_devices.count());
    for device in listed {
        assert!(device["name"].is_string() && device["self_test"].is_array(), "{device}");
    }
}
