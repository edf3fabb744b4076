//! Lets the linker leave Python's own symbols open where it would not do so by itself (macOS).

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
