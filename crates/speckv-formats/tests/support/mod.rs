//! Real models and golden files, where they are at hand.
//!
//! Models are looked for in the folder SPECKV_MODELS, else in `speckv/models` of the user's cache,
//! where `speckv pull` puts them; golden files in SPECKV_GOLDEN, else in `../shared/golden` beside
//! the workspace.
#![allow(dead_code, reason = "every test program uses its own part of this")]

use std::{
    env,
    path::{Path, PathBuf},
};

use speckv_formats::gguf::Gguf;

/// Catalogue name and golden name of each model.
pub(crate) const MODELS: [(&str, &str); 3] = [
    ("smollm2-135m", "smollm2-135m-instruct-q4_1"),
    ("qwen2.5-coder-0.5b", "qwen2.5-coder-0.5b-instruct-q4_k_m"),
    ("qwen2.5-coder-1.5b", "qwen2.5-coder-1.5b-instruct-q4_k_m"),
];

/// A catalogue model's file, or `None`, said loudly, if it was not pulled.
pub(crate) fn model(name: &str) -> Option<Gguf> {
    let cache = || {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        Some(
            cache
                .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")))?
                .join("speckv/models"),
        )
    };
    let folder = env::var_os("SPECKV_MODELS").map(PathBuf::from).or_else(cache)?;
    let path = folder.join(format!("{name}.gguf"));
    if !path.exists() {
        eprintln!(
            "SKIPPED: no model {name}; `speckv pull {name}`, or name its folder in SPECKV_MODELS"
        );
        return None;
    }
    Some(Gguf::open(&path).unwrap())
}

/// A golden file, `NAME.KIND.json`, or `None`, said loudly, if there is none.
pub(crate) fn golden(name: &str, kind: &str) -> Option<serde_json::Value> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden");
    let folder = env::var_os("SPECKV_GOLDEN").map_or_else(beside, PathBuf::from);
    match std::fs::read(folder.join(format!("{name}.{kind}.json"))) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(_) => {
            eprintln!(
                "SKIPPED: no golden file {name}.{kind}.json; name its folder in SPECKV_GOLDEN"
            );
            None
        }
    }
}

/// A JSON list of tokens.
pub(crate) fn tokens(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as u32).collect()
}
