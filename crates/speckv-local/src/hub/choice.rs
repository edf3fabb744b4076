//! Which files of a repository make up the model that is meant.

use speckv_formats::gguf::part_of_name;

/// The quantization of GGUF files that is taken where the user names none.
pub const DEFAULT_QUANT: &str = "Q4_K_M";

/// Names of quantizations, and their bits per weight as files usually have them.
const QUANTS: [(&str, f32); 40] = [
    ("F32", 32.0),
    ("BF16", 16.0),
    ("F16", 16.0),
    ("FP16", 16.0),
    ("Q8_K_XL", 9.5),
    ("Q8_0", 8.5),
    ("Q6_K_XL", 7.0),
    ("Q6_K_L", 6.7),
    ("Q6_K", 6.56),
    ("Q5_K_XL", 5.9),
    ("Q5_K_L", 5.8),
    ("Q5_K_M", 5.69),
    ("Q5_K_S", 5.54),
    ("Q5_1", 6.0),
    ("Q5_0", 5.5),
    ("Q4_K_XL", 5.0),
    ("Q4_K_L", 4.95),
    ("Q4_K_M", 4.85),
    ("Q4_K_S", 4.58),
    ("Q4_1", 5.0),
    ("Q4_0", 4.55),
    ("IQ4_NL", 4.5),
    ("MXFP4_MOE", 4.4),
    ("MXFP4", 4.3),
    ("NVFP4", 4.6),
    ("IQ4_XS", 4.25),
    ("Q3_K_XL", 4.3),
    ("Q3_K_L", 4.27),
    ("Q3_K_M", 3.91),
    ("IQ3_M", 3.66),
    ("IQ3_S", 3.5),
    ("Q3_K_S", 3.5),
    ("IQ3_XS", 3.3),
    ("IQ3_XXS", 3.06),
    ("Q2_K", 3.0),
    ("IQ2_M", 2.7),
    ("IQ2_S", 2.5),
    ("IQ2_XS", 2.31),
    ("IQ2_XXS", 2.06),
    ("IQ1_M", 1.75),
];

/// Files of a folder that are fetched beside its weights.
const FOLDER: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "model.safetensors.index.json",
];

/// What a repository has for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// One GGUF file, or its parts in order.
    Gguf {
        /// Paths in the repository.
        paths: Vec<String>,
        /// The quantization, as the names spell it.
        quant: String,
        /// Whether another one was taken than the usual.
        other: bool,
    },
    /// A folder with safetensors.
    Folder {
        /// Paths in the repository.
        paths: Vec<String>,
    },
}

impl Choice {
    /// Paths in the repository.
    pub(super) fn paths(&self) -> &[String] {
        match self {
            Choice::Gguf { paths, .. } | Choice::Folder { paths } => paths,
        }
    }
}

/// Why no files were chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoChoice {
    /// There is no such quantization; these are there.
    Quant(Vec<String>),
    /// Neither GGUF files nor a folder with safetensors.
    NoModel,
}

/// GGUF files that are one model.
struct Set {
    paths: Vec<String>,
    /// How many parts there should be.
    count: usize,
    quant: Option<&'static str>,
}

/// The quantization that a file's name speaks of.
fn quant_of(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_uppercase();
    let named = |quant: &str| {
        name.match_indices(quant).any(|(at, _)| {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let before = name[..at].chars().next_back().is_none_or(|c| !word(c));
            let after = name[at + quant.len()..].chars().next().is_none_or(|c| !word(c));
            before && after
        })
    };
    QUANTS.iter().map(|(quant, _)| *quant).find(|quant| named(quant))
}

fn bits(quant: &str) -> Option<f32> {
    QUANTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(quant)).map(|(_, bits)| *bits)
}

fn sets(paths: &[&str]) -> Vec<Set> {
    let mut sets: Vec<(String, Set)> = Vec::new();
    let mut names: Vec<&str> = paths.to_vec();
    names.sort_unstable();
    for path in names {
        let lower = path.to_ascii_lowercase();
        let is_model = lower.ends_with(".gguf")
            && !["mmproj", "imatrix"].iter().any(|other| lower.contains(other));
        if !is_model {
            continue;
        }
        let (stem, count) = match part_of_name(path) {
            // Without `-00001-of-00003.gguf`.
            Some((_, count)) => (&path[..path.len() - 20], count as usize),
            None => (path, 1),
        };
        match sets.iter_mut().find(|(known, _)| known == stem) {
            Some((_, set)) => set.paths.push(path.to_owned()),
            None => {
                let set = Set { paths: vec![path.to_owned()], count, quant: quant_of(path) };
                sets.push((stem.to_owned(), set));
            }
        }
    }
    let whole = |(_, set): (String, Set)| (set.paths.len() == set.count).then_some(set);
    sets.into_iter().filter_map(whole).collect()
}

/// The files that are meant.
pub(super) fn choose(paths: &[&str], quant: Option<&str>) -> Result<Choice, NoChoice> {
    let sets = sets(paths);
    if sets.is_empty() {
        return match (folder(paths), quant) {
            (Some(choice), None) => Ok(choice),
            (Some(_), Some(_)) => Err(NoChoice::Quant(Vec::new())),
            (None, _) => Err(NoChoice::NoModel),
        };
    }
    let exact = |wanted: &str| {
        let by_label = |set: &&Set| set.quant.is_some_and(|own| own.eq_ignore_ascii_case(wanted));
        // A label of its own that this program does not know, somewhere in the name.
        let by_name =
            |set: &&Set| set.paths[0].to_ascii_lowercase().contains(&wanted.to_ascii_lowercase());
        sets.iter().find(by_label).or_else(|| sets.iter().find(by_name))
    };
    let label = |set: &Set| set.quant.unwrap_or("of an unnamed type").to_owned();
    let taken =
        |set: &Set, other| Ok(Choice::Gguf { paths: set.paths.clone(), quant: label(set), other });
    match quant {
        Some(wanted) => match exact(wanted) {
            Some(set) => taken(set, false),
            None => Err(NoChoice::Quant(sets.iter().map(label).collect())),
        },
        None => {
            if let Some(set) = exact(DEFAULT_QUANT) {
                return taken(set, false);
            }
            let usual = bits(DEFAULT_QUANT).unwrap_or(4.85);
            let distance =
                |set: &&Set| set.quant.and_then(bits).map_or(f32::MAX, |bits| (bits - usual).abs());
            let nearest = sets.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
            nearest.map_or(Err(NoChoice::NoModel), |set| taken(set, true))
        }
    }
}

/// The files of a folder with safetensors.
fn folder(paths: &[&str]) -> Option<Choice> {
    let has = |name: &str| paths.contains(&name);
    let weights = |path: &&str| path.ends_with(".safetensors") && path.starts_with("model");
    let mut chosen: Vec<String> =
        paths.iter().copied().filter(|path| FOLDER.contains(path)).map(str::to_owned).collect();
    chosen.extend(paths.iter().copied().filter(weights).map(str::to_owned));
    let whole = has("config.json") && paths.iter().any(weights);
    whole.then_some(Choice::Folder { paths: chosen })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(choice: Result<Choice, NoChoice>) -> Vec<String> {
        choice.expect("a choice").paths().to_vec()
    }

    const FILES: [&str; 8] = [
        "README.md",
        "x-Q8_0.gguf",
        "x-Q4_K_M.gguf",
        "x-IQ4_XS.gguf",
        "mmproj-x-f16.gguf",
        "BF16/x-BF16-00001-of-00002.gguf",
        "BF16/x-BF16-00002-of-00002.gguf",
        "x-Q6_K-00001-of-00002.gguf",
    ];

    #[test]
    fn the_usual_quantization_is_taken_else_the_nearest_and_that_is_said() {
        assert_eq!(paths(choose(&FILES, None)), ["x-Q4_K_M.gguf"]);
        let others: Vec<&str> = FILES.into_iter().filter(|file| !file.contains("Q4_K_M")).collect();
        let nearest = choose(&others, None).expect("a choice");
        assert_eq!(nearest.paths(), ["x-IQ4_XS.gguf"]);
        assert!(matches!(nearest, Choice::Gguf { other: true, .. }));
        assert_eq!(paths(choose(&["model.gguf"], None)), ["model.gguf"]);
    }

    #[test]
    fn a_named_quantization_is_that_or_refused_with_what_is_there() {
        assert_eq!(paths(choose(&FILES, Some("q8_0"))), ["x-Q8_0.gguf"]);
        assert_eq!(paths(choose(&FILES, Some("BF16"))), FILES[5..7]);
        // One of the two parts is not there.
        let error = choose(&FILES, Some("Q6_K")).expect_err("half a model");
        let NoChoice::Quant(there) = error else { panic!("{error:?}") };
        assert_eq!(there, ["BF16", "IQ4_XS", "Q4_K_M", "Q8_0"]);
        assert_eq!(quant_of("a-IQ4_XS.gguf"), Some("IQ4_XS"));
        assert_eq!(quant_of("Q4_K_M/a.gguf"), None);
        assert_eq!(quant_of("a.UD-Q4_K_XL.gguf"), Some("Q4_K_XL"));
    }

    #[test]
    fn without_gguf_files_a_folder_is_taken_whole() {
        let files = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "README.md",
            "model-00002-of-00002.safetensors",
            "tokenizer.json",
            "consolidated.safetensors",
            "model.safetensors.index.json",
            "onnx/model.onnx",
        ];
        let chosen = paths(choose(&files, None));
        assert!(chosen.len() == 5 && chosen.iter().all(|path| !path.contains("consolidated")));
        assert_eq!(choose(&files, Some("Q8_0")), Err(NoChoice::Quant(Vec::new())));
        assert_eq!(choose(&["README.md"], None), Err(NoChoice::NoModel));
    }
}
