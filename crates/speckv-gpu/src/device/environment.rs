//! What drivers read from the environment.

/// Mesa's layer that orders GPUs by the display's asks for a display, and complains on standard
/// error where there cannot be one. This turns the layer off there: adapters have an order of this
/// crate's own.
///
/// # Safety
/// No other thread of the process runs: the environment of the process is changed.
pub unsafe fn omit_display_search() {
    const LAYER: &str = "NODEVICE_SELECT";
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if cfg!(target_os = "linux") && !is_set("XDG_RUNTIME_DIR") && !is_set(LAYER) {
        // SAFETY: the caller says that no other thread runs, so none reads the environment now.
        unsafe { std::env::set_var(LAYER, "1") };
    }
}
