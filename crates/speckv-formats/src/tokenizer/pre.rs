//! Cutting text before merging. Which cuts a model was trained with is a fact about the model,
//! named by `tokenizer.ggml.pre`.

use regex::Regex;

use super::TokenizerError;

/// One pass: parts that match are cut out, the text between stays as it is.
struct Stage {
    regex: Regex,
    /// The published pattern has `\s+(?!\S)` before `\s+`: a run of whitespace leaves its last
    /// character to what follows. The `regex` crate, which is linear in time whatever the text, has
    /// no look-ahead, so the run is shortened after the match.
    gives_back: bool,
    /// Whether `\s*[\r\n]+` comes before that.
    line_breaks: bool,
}

/// Cuts text in passes; each pass works inside the parts of the one before.
pub(super) struct PreTokenizer {
    stages: Vec<Stage>,
    whole_words: bool,
}

struct Family {
    names: &'static [&'static str],
    patterns: &'static [&'static str],
    whole_words: bool,
    add_bos: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";

macro_rules! contractions {
    () => {
        "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
    };
}
macro_rules! words {
    ($letters:literal, $digits:literal, $no_symbol:literal) => {
        concat!(
            contractions!(),
            r"|[^\r\n\p{L}\p{N}]?",
            $letters,
            "|",
            $digits,
            "| ?",
            $no_symbol,
            r"+[\r\n]*|\s*[\r\n]+|\s+"
        )
    };
}
// Words that change from upper to lower case once; `$end` may take a contraction along.
macro_rules! cased {
    ($end:expr, $digits:literal) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            $end,
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            $end,
            "|",
            $digits,
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
        )
    };
}

const THREE_DIGITS: &str = words!(r"\p{L}+", r"\p{N}{1,3}", r"[^\s\p{L}\p{N}]");
const ONE_DIGIT: &str = words!(r"\p{L}+", r"\p{N}", r"[^\s\p{L}\p{N}]");
const ONE_DIGIT_MARKS: &str = words!(r"[\p{L}\p{M}]+", r"\p{N}", r"[^\s\p{L}\p{M}\p{N}]");

/// The patterns are those of the models' own `tokenizer.json`; the names those that llama.cpp's
/// converter writes.
const FAMILIES: &[Family] = &[
    Family {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2"],
        patterns: &[THREE_DIGITS],
        whole_words: true,
        add_bos: true,
    },
    Family {
        names: &["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"],
        patterns: &[THREE_DIGITS],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan"],
        patterns: &[ONE_DIGIT],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["seed-coder"],
        patterns: &[concat!(
            contractions!(),
            r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+"
        )],
        whole_words: false,
        add_bos: false,
    },
    Family { names: &["qwen35"], patterns: &[ONE_DIGIT_MARKS], whole_words: false, add_bos: false },
    Family {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        patterns: &[r"\p{N}", GPT2],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "exaone4"],
        patterns: &[GPT2],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["tekken"],
        patterns: &[cased!("", r"\p{N}")],
        whole_words: true,
        add_bos: true,
    },
    Family {
        names: &["gpt-4o", "llama4"],
        patterns: &[cased!(concat!("(?:", contractions!(), ")?"), r"\p{N}{1,3}")],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["deepseek-coder"],
        patterns: &[
            r"[\r\n]",
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            r"[\u{800}-\u{9FA5}\u{AC00}-\u{D7FF}]+",
            r"\p{N}",
        ],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["deepseek-v3"],
        patterns: &[
            r"\p{N}{1,3}",
            r"[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+",
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+"##,
        ],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["falcon"],
        patterns: &[r"[\p{P}$+<=>^~|`]+", GPT2, r"[0-9][0-9][0-9]"],
        whole_words: false,
        add_bos: false,
    },
    Family {
        names: &["default"],
        patterns: &[r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
        whole_words: false,
        add_bos: false,
    },
];

/// Names of the pre-tokenizers that work, as in `tokenizer.ggml.pre`.
pub fn pre_tokenizers() -> Vec<&'static str> {
    FAMILIES.iter().flat_map(|family| family.names).copied().collect()
}

impl PreTokenizer {
    pub(super) fn new(name: &str) -> Result<Self, TokenizerError> {
        let unknown = || TokenizerError::UnknownPreTokenizer {
            got: name.to_owned(),
            supported: pre_tokenizers(),
        };
        let family =
            FAMILIES.iter().find(|family| family.names.contains(&name)).ok_or_else(unknown)?;
        let stages = family
            .patterns
            .iter()
            .map(|pattern| Stage {
                // The patterns are constants and a test compiles every one of them.
                regex: Regex::new(pattern).expect("constant pattern"),
                gives_back: pattern.ends_with(r"|\s+"),
                line_breaks: pattern.contains(r"|\s*[\r\n]+"),
            })
            .collect();
        Ok(Self { stages, whole_words: family.whole_words })
    }

    /// Whether a part that is a token as a whole is taken without merging.
    pub(super) fn whole_words(&self) -> bool {
        self.whole_words
    }

    /// Whether texts begin with BOS where the file does not say.
    pub(super) fn adds_bos(name: &str) -> bool {
        FAMILIES.iter().any(|family| family.add_bos && family.names.contains(&name))
    }

    /// The parts, in order; joined, they are the text.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut parts = vec![text];
        for stage in &self.stages {
            let mut finer = Vec::with_capacity(parts.len());
            for part in parts {
                stage.split(part, &mut finer);
            }
            parts = finer;
        }
        parts
    }
}

impl Stage {
    fn split<'t>(&self, text: &'t str, parts: &mut Vec<&'t str>) {
        let mut from = 0;
        while from < text.len() {
            let Some(found) = self.regex.find_at(text, from) else {
                parts.push(&text[from..]);
                return;
            };
            if found.start() > from {
                parts.push(&text[from..found.start()]);
            }
            let end = if self.gives_back {
                self.shortened(text, found.start(), found.end())
            } else {
                found.end()
            };
            parts.push(&text[found.start()..end]);
            from = end;
        }
    }

    /// The end of the match that `\s+(?!\S)|\s+` would have made where the pattern found
    /// `start..end`.
    fn shortened(&self, text: &str, start: usize, end: usize) -> usize {
        let run = &text[start..end];
        let Some(last) = run.chars().next_back() else { return end };
        // With `\s*[\r\n]+` among the alternatives, a run up to a line break was found by that one
        // and stays whole.
        if self.line_breaks && matches!(last, '\r' | '\n') {
            return end;
        }
        let followed = text[end..].chars().next().is_some_and(|next| !next.is_whitespace());
        let shorter = end - last.len_utf8();
        if followed && shorter > start && run.chars().all(char::is_whitespace) {
            shorter
        } else {
            end
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn split(name: &str, text: &'static str) -> Vec<&'static str> {
        PreTokenizer::new(name).unwrap().split(text)
    }

    #[test]
    fn seed_cuts_line_breaks_from_symbols() {
        assert_eq!(split("seed-coder", "x.\n\n y 12"), ["x", ".", "\n\n", " y", " ", "1", "2"]);
        assert_eq!(split("qwen2", "x.\n\n y"), ["x", ".\n\n", " y"]);
    }

    #[test]
    fn every_family_compiles_and_loses_no_text() {
        for name in pre_tokenizers() {
            let text = "Don't  stop\n\n\tWE'LL 12345\r\n  日本語 e\u{301}? \u{a0}\u{3000}x  ";
            assert_eq!(split(name, text).concat(), text, "{name}");
        }
    }

    #[test]
    fn an_unknown_pre_tokenizer_is_refused_with_the_list_of_those_that_work() {
        let error = PreTokenizer::new("klingon").err().unwrap();
        let message = error.to_string();
        assert!(
            message.contains("klingon") && message.contains("qwen2") && message.contains("smollm"),
            "{message}"
        );
        assert!(error.hint().is_some());
    }

    #[test]
    fn a_run_of_spaces_leaves_its_last_one_to_the_word() {
        for name in ["gpt-2", "qwen2", "llama-bpe", "smollm"] {
            assert_eq!(split(name, "a   b"), ["a", "  ", " b"], "{name}");
            assert_eq!(split(name, "a   "), ["a", "   "], "{name}");
        }
        // A tab is not the optional space of ` ?\p{L}+`, but it is the optional character of
        // `[^\r\n\p{L}\p{N}]?\p{L}+`.
        assert_eq!(split("gpt-2", "\t\tb"), ["\t", "\t", "b"]);
        assert_eq!(split("qwen2", "\t\tb"), ["\t", "\tb"]);
    }

    #[test]
    fn line_breaks_stay_together_except_in_gpt_2() {
        assert_eq!(split("qwen2", "a \n\n b"), ["a", " \n\n", " b"]);
        assert_eq!(split("gpt-2", "a\n\nb"), ["a", "\n", "\n", "b"]);
    }

    #[test]
    fn digits_are_cut_as_each_family_does() {
        assert_eq!(split("gpt-2", "x 1234"), ["x", " 1234"]);
        assert_eq!(split("qwen2", "x 12"), ["x", " ", "1", "2"]);
        assert_eq!(split("smollm", "x  12"), ["x", "  ", "1", "2"]);
        assert_eq!(split("llama-bpe", "1234"), ["123", "4"]);
    }

    #[test]
    fn marks_belong_to_letters_in_qwen35_only() {
        assert_eq!(split("qwen35", "e\u{301}a"), ["e\u{301}a"]);
        assert_eq!(split("qwen2", "e\u{301}a"), ["e", "\u{301}a"]);
    }

    #[test]
    fn tekken_cuts_where_the_case_rises() {
        assert_eq!(split("tekken", "camelCase HTTPServer"), ["camel", "Case", " HTTPServer"]);
    }

    type Oracle = tokenizers::pre_tokenizers::split::Split;

    /// Ours, and the published pattern with its look-ahead, run by the backtracking engine of the
    /// `tokenizers` library.
    static PAIRS: LazyLock<Vec<(&str, PreTokenizer, Oracle)>> = LazyLock::new(|| {
        let pair = |name| {
            let family = FAMILIES.iter().find(|family| family.names.contains(&name)).unwrap();
            let published = family.patterns[0].replace(r"|\s+", r"|\s+(?!\S)|\s+");
            assert_ne!(published, family.patterns[0]);
            let pattern = tokenizers::pre_tokenizers::split::SplitPattern::Regex(published);
            let oracle =
                Oracle::new(pattern, tokenizers::SplitDelimiterBehavior::Isolated, false).unwrap();
            (name, PreTokenizer::new(name).unwrap(), oracle)
        };
        ["qwen2", "qwen35", "gpt-2", "llama-bpe", "tekken", "gpt-4o"].map(pair).into()
    });

    proptest! {
        #[test]
        fn parts_equal_those_of_the_published_pattern(text in r"[ \t\n\r\x{a0}aB1.,'s\x{301}日]{0,24}") {
            for (name, ours, oracle) in &*PAIRS {
                let mut expected = tokenizers::PreTokenizedString::from(text.as_str());
                tokenizers::PreTokenizer::pre_tokenize(oracle, &mut expected).unwrap();
                let expected: Vec<_> = expected
                    .get_splits(tokenizers::OffsetReferential::Original, tokenizers::OffsetType::Byte)
                    .into_iter()
                    .map(|(part, ..)| part)
                    .filter(|part| !part.is_empty())
                    .collect();
                let got: Vec<_> = ours.split(&text).into_iter().filter(|part| !part.is_empty()).collect();
                prop_assert_eq!(got, expected, "{}", name);
            }
        }
    }
}
