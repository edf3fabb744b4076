//! What the self-test has found on GPUs, kept in the user's cache folder.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use speckv_gpu::report::FormatReport;

use crate::store;

/// One GPU with one driver and one version of the kernels.
#[derive(Serialize, Deserialize)]
struct Document {
    version: String,
    device: String,
    formats: Vec<FormatReport>,
}

/// The version of the kernels: another one is tested anew.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The file of a device; `None` if no variable names a cache folder.
fn path(device: &str) -> Option<PathBuf> {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = device.chars().map(word).collect();
    Some(store::cache_folder()?.join("speckv").join("gpu").join(format!("{name}.json")))
}

/// What was found on a device before; nothing where no file says it.
#[must_use]
pub fn read(device: &str) -> Vec<FormatReport> {
    let text = path(device).and_then(|path| fs::read_to_string(path).ok());
    let document = text.and_then(|text| serde_json::from_str::<Document>(&text).ok());
    document
        .filter(|document| document.version == VERSION && document.device == device)
        .map_or_else(Vec::new, |document| document.formats)
}

/// Keeps what was found. A folder that cannot be written means that the test runs again.
pub fn write(device: &str, formats: Vec<FormatReport>) {
    let document = Document { version: VERSION.to_owned(), device: device.to_owned(), formats };
    let Some(path) = path(device) else { return };
    let Ok(text) = serde_json::to_string_pretty(&document) else { return };
    let _ = path.parent().map(fs::create_dir_all);
    let _ = fs::write(path, text);
}
