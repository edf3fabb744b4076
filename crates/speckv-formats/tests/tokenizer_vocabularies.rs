//! Tokenizers over small vocabularies: expected tokens are worked out by hand, hostile vocabularies
//! are refused.

use proptest::prelude::*;
use speckv_formats::tokenizer::{Model, TokenType, Tokenizer, TokenizerError, Vocabulary};

fn byte_level_model(merges: &[&str], pre: &str) -> Model {
    Model::ByteLevel {
        merges: merges.iter().map(|merge| (*merge).to_owned()).collect(),
        pre: pre.to_owned(),
    }
}

/// The spelling of byte-level vocabularies, made here from GPT-2's definition, not from the code
/// under test.
fn alphabet() -> Vec<String> {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut shifted = 0x100;
    (0..256)
        .map(|byte| {
            if printable(byte) {
                return char::from_u32(byte).unwrap().to_string();
            }
            shifted += 1;
            char::from_u32(shifted - 1).unwrap().to_string()
        })
        .collect()
}

fn byte_level(extra: &[&str], merges: &[&str]) -> Vocabulary {
    let tokens = alphabet().into_iter().chain(extra.iter().map(|text| (*text).to_owned()));
    Vocabulary::new(tokens, byte_level_model(merges, "gpt-2"))
}

fn sentencepiece(tokens: &[(&str, f32, TokenType)], add_space_prefix: bool) -> Vocabulary {
    let scores = tokens.iter().map(|token| token.1).collect();
    let model = Model::SentencePiece { scores, add_space_prefix };
    let mut vocabulary = Vocabulary::new(tokens.iter().map(|token| token.0), model);
    vocabulary.types = tokens.iter().map(|token| token.2).collect();
    vocabulary
}

fn build(vocabulary: Vocabulary) -> Tokenizer {
    Tokenizer::from_vocabulary(vocabulary).unwrap()
}

fn texts(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let tokens = tokenizer.encode(text, true, false).unwrap();
    tokens.iter().map(|&token| tokenizer.token_text(token).unwrap().to_owned()).collect()
}

use TokenType::{Byte, Control, Normal, Unknown, Unused, UserDefined};

#[test]
fn merges_are_done_in_the_order_of_their_rank() {
    // "abab": rank 0 joins b+a in the middle; a+b, rank 1, finds no pair any more.
    let tokenizer = build(byte_level(&["ba", "ab", "aba"], &["b a", "a b", "a ba"]));
    assert_eq!(texts(&tokenizer, "abab"), ["aba", "b"]);
    let tokenizer = build(byte_level(&["ba", "ab", "aba", "abab"], &["a b", "b a", "ab ab"]));
    assert_eq!(texts(&tokenizer, "abab"), ["abab"]);
    // Equal pairs from the left: "aaa" is aa+a.
    let tokenizer = build(byte_level(&["aa"], &["a a"]));
    assert_eq!(texts(&tokenizer, "aaa"), ["aa", "a"]);
    assert_eq!(texts(&tokenizer, "aaaaa"), ["aa", "aa", "a"]);
}

#[test]
fn merges_do_not_cross_the_cuts_of_the_pre_tokenizer() {
    let tokenizer = build(byte_level(&["aĠ", "Ġa"], &["a Ġ", "Ġ a"]));
    assert_eq!(texts(&tokenizer, "a a"), ["a", "Ġa"]);
}

#[test]
fn whole_words_are_taken_without_merges_only_where_the_model_does() {
    let mut vocabulary = byte_level(&["hello"], &[]);
    assert_eq!(texts(&build(vocabulary.clone()), "hello"), ["h", "e", "l", "l", "o"]);
    vocabulary.model = byte_level_model(&[], "llama-bpe");
    assert_eq!(texts(&build(vocabulary.clone()), "hello"), ["hello"]);
    // A control token of that text is not the word.
    vocabulary.types[256] = Control;
    let tokenizer = build(vocabulary);
    assert_eq!(tokenizer.encode("hello", false, false).unwrap().len(), 5);
}

#[test]
fn control_tokens_in_text_are_parsed_only_on_demand() {
    let mut vocabulary = byte_level(&["<|im_end|>", "<tool>"], &[]);
    vocabulary.types[256] = Control;
    vocabulary.types[257] = UserDefined;
    let tokenizer = build(vocabulary);
    assert_eq!(tokenizer.encode("<tool><|im_end|>", true, false).unwrap(), [257, 256]);
    let tokens = tokenizer.encode("<tool><|im_end|>", false, false).unwrap();
    assert_eq!((tokens[0], tokens.len()), (257, 1 + "<|im_end|>".len()));
    assert_eq!(tokenizer.decode(&tokens, true), "<tool><|im_end|>");
    assert_eq!(tokenizer.decode(&[257, 256], true), "<tool>");
    assert_eq!(tokenizer.decode(&[257, 256], false), "<tool><|im_end|>");
    assert_eq!(tokenizer.end_tokens(), [256]);
}

#[test]
fn a_text_begins_and_ends_as_the_metadata_asks() {
    let mut vocabulary = byte_level(&["<s>", "</s>"], &[]);
    vocabulary.types[256..].fill(Control);
    (vocabulary.bos, vocabulary.eos) = (Some(256), Some(257));
    let tokens = |add_bos, add_eos, text: &str, add_special| {
        let tokenizer = build(Vocabulary { add_bos, add_eos, ..vocabulary.clone() });
        tokenizer.encode(text, true, add_special).unwrap()
    };
    let a = u32::from(b'a');
    assert_eq!(tokens(true, true, "a", true), [256, a, 257]);
    assert_eq!(tokens(true, true, "a", false), [a]);
    assert_eq!(tokens(false, false, "a", true), [a]);
    assert_eq!(tokens(true, false, "", true), [256]);
    assert_eq!(tokens(true, false, "<s>a", true), [256, a], "no second BOS");
}

#[test]
fn bytes_without_a_token_are_an_error_unless_there_is_an_unknown_token() {
    let mut vocabulary = Vocabulary::new(["a", "<unk>"], byte_level_model(&[], "gpt-2"));
    vocabulary.types[1] = Unknown;
    assert!(matches!(
        build(vocabulary.clone()).encode("ab", false, false),
        Err(TokenizerError::NoToken { .. })
    ));
    vocabulary.unknown = Some(1);
    assert_eq!(build(vocabulary).encode("ab", false, false).unwrap(), [0, 1]);
}

#[test]
fn sentencepiece_merges_the_highest_score_first() {
    // "▁abc": ab (-1) before bc (-2); then ▁ab is no token, abc (-4) is; ▁abc is not. Left: ▁, abc.
    let tokenizer = build(sentencepiece(
        &[
            ("<unk>", 0.0, Unknown),
            ("▁", -9.0, Normal),
            ("a", -9.0, Normal),
            ("b", -9.0, Normal),
            ("c", -9.0, Normal),
            ("ab", -1.0, Normal),
            ("bc", -2.0, Normal),
            ("abc", -4.0, Normal),
            ("▁a", -3.0, Normal),
        ],
        true,
    ));
    assert_eq!(texts(&tokenizer, "abc"), ["▁", "abc"]);
    // "▁a▁a": no ab here, so ▁a (-3) twice.
    assert_eq!(texts(&tokenizer, "a a"), ["▁a", "▁a"]);
    // "▁bcb": bc.
    assert_eq!(texts(&tokenizer, "bcb"), ["▁", "bc", "b"]);
    assert!(tokenizer.encode("", true, true).unwrap().is_empty());
}

#[test]
fn sentencepiece_takes_the_leftmost_of_equal_scores() {
    let characters = [("a", -9.0, Normal), ("b", -9.0, Normal)];
    // "aba": ab and ba have one score, ab is further left.
    let tokens = [characters[0], characters[1], ("ab", -1.0, Normal), ("ba", -1.0, Normal)];
    assert_eq!(texts(&build(sentencepiece(&tokens, false)), "aba"), ["ab", "a"]);
    // The same for -0 and 0.
    let tokens = [characters[0], characters[1], ("ab", -0.0, Normal), ("ba", 0.0, Normal)];
    assert_eq!(texts(&build(sentencepiece(&tokens, false)), "aba"), ["ab", "a"]);
}

#[test]
fn sentencepiece_spells_what_it_does_not_know_byte_by_byte() {
    let mut tokens = vec![("<unk>", 0.0, Unknown), ("a", -1.0, Normal)];
    let mut vocabulary = sentencepiece(&tokens, false);
    vocabulary.unknown = Some(0);
    assert_eq!(
        texts(&build(vocabulary), "aéèa"),
        ["a", "<unk>", "a"],
        "one unknown token for a run"
    );
    tokens.extend([("<0xC3>", 0.0, Byte), ("<0xA9>", 0.0, Byte)]);
    let tokenizer = build(sentencepiece(&tokens, false));
    assert_eq!(texts(&tokenizer, "aé"), ["a", "<0xC3>", "<0xA9>"]);
    assert_eq!(tokenizer.decode(&[1, 2, 3, 1], true), "aéa");
    assert_eq!(tokenizer.decode(&[2, 1], true), "\u{fffd}a");
    assert!(matches!(tokenizer.encode("€", true, false), Err(TokenizerError::NoToken { .. })));
    // The spelling of a byte is ordinary text where a user writes it.
    assert!(tokenizer.encode("<0xC3>", true, false).is_err());
}

#[test]
fn sentencepiece_takes_unused_tokens_apart_again() {
    // ab is unused but carries the merge to abc; alone it falls back into a, b.
    let tokens = [
        ("a", -9.0, Normal),
        ("b", -9.0, Normal),
        ("c", -9.0, Normal),
        ("ab", -1.0, Unused),
        ("abc", -2.0, Normal),
    ];
    let tokenizer = build(sentencepiece(&tokens, false));
    assert_eq!(texts(&tokenizer, "abcab"), ["abc", "a", "b"]);
}

#[test]
fn sentencepiece_puts_a_space_before_text_and_takes_it_away() {
    let tokens = [
        ("▁", -1.0, Normal),
        ("a", -2.0, Normal),
        ("▁a", -1.0, Normal),
        ("<s>", 0.0, Control),
        ("\n\n", 0.0, UserDefined),
    ];
    let tokenizer = build(sentencepiece(&tokens, true));
    assert_eq!(texts(&tokenizer, "a<s>a\n\na"), ["▁a", "<s>", "▁a", "\n\n", "▁a"]);
    for text in ["a", " a", "  a a", "a<s>a\n\n a", "<s> ", "\n\n"] {
        let tokens = tokenizer.encode(text, true, false).unwrap();
        assert_eq!(tokenizer.decode(&tokens, false), text);
    }
    let tokenizer = build(sentencepiece(&tokens, false));
    assert_eq!(texts(&tokenizer, "a a\n\n"), ["a", "▁a", "\n\n"]);
    assert_eq!(tokenizer.decode(&tokenizer.encode(" a", true, false).unwrap(), true), " a");
}

#[test]
fn hostile_vocabularies_are_refused() {
    let refused = |vocabulary| Tokenizer::from_vocabulary(vocabulary).unwrap_err();
    let plain = || byte_level(&[], &[]);
    assert!(matches!(
        refused(Vocabulary::new([""; 0], byte_level_model(&[], "gpt-2"))),
        TokenizerError::Empty
    ));
    for merges in [["zz a"], ["a zz"], ["a b"], ["ab"], [" a"], ["a "], [""]] {
        let error = refused(byte_level(&[], &merges));
        assert!(matches!(error, TokenizerError::Merge { index: 0, .. }), "{merges:?}: {error}");
        assert!(error.hint().is_some());
    }
    for vocabulary in [
        Vocabulary { bos: Some(256), ..plain() },
        Vocabulary { eos: Some(u32::MAX), ..plain() },
        Vocabulary { unknown: Some(300), ..plain() },
        Vocabulary { end_tokens: vec![1, 1000], ..plain() },
    ] {
        assert!(matches!(refused(vocabulary), TokenizerError::OutOfRange { size: 256, .. }));
    }
    assert!(matches!(
        refused(Vocabulary { types: vec![Normal; 3], ..plain() }),
        TokenizerError::Length { expected: 256, got: 3, .. }
    ));
    let mut scores = sentencepiece(&[("a", f32::NAN, Normal)], false);
    assert!(matches!(refused(scores.clone()), TokenizerError::Score { token: 0, .. }));
    scores.model = Model::SentencePiece { scores: vec![], add_space_prefix: false };
    assert!(matches!(refused(scores), TokenizerError::Length { expected: 1, got: 0, .. }));
    let unknown = Vocabulary::new(["a"], byte_level_model(&[], "nonsense"));
    assert!(matches!(refused(unknown), TokenizerError::UnknownPreTokenizer { .. }));
}

#[test]
fn padding_may_repeat_a_text_and_is_never_produced() {
    let mut vocabulary = byte_level(&["a", "[PAD]", "[PAD]"], &[]);
    vocabulary.types[256..].fill(Unused);
    let tokenizer = build(vocabulary);
    assert_eq!(tokenizer.encode("a", true, false).unwrap(), [97]);
    assert_eq!(tokenizer.decode(&[97, 257, 97], false), "aa");
    assert_eq!(tokenizer.piece(259), None);
}

#[test]
fn padding_is_no_difference_and_any_other_text_is() {
    let tokenizer = |extra: &[(&str, TokenType)]| {
        let texts: Vec<_> = extra.iter().map(|token| token.0).collect();
        let mut vocabulary = byte_level(&texts, &[]);
        vocabulary.types[256..].iter_mut().zip(extra).for_each(|(kind, token)| *kind = token.1);
        build(vocabulary)
    };
    let plain = tokenizer(&[("<e>", Control)]);
    let padded = tokenizer(&[("<e>", Control), ("[PAD1]", Unused), ("[PAD2]", Unused)]);
    assert_eq!(plain.first_difference(&padded), None);
    assert_eq!(padded.first_difference(&plain), None);
    assert_eq!(
        padded.first_difference(&tokenizer(&[("<e>", Control), ("<unused>", Unused)])),
        None
    );
    let other = tokenizer(&[("<e>", Control), ("<think>", UserDefined)]);
    let difference = padded.first_difference(&other).unwrap();
    assert_eq!(
        (difference.token, difference.ours.as_deref(), difference.theirs.as_deref()),
        (257, None, Some("<think>"))
    );
    assert_eq!(difference.to_string(), "token 257 is nothing in one and \"<think>\" in the other");
    let difference = plain.first_difference(&tokenizer(&[("<f>", Control)])).unwrap();
    assert_eq!((difference.token, difference.ours.as_deref()), (256, Some("<e>")));
}

#[test]
fn tokens_outside_the_vocabulary_become_replacement_characters() {
    let tokenizer = build(byte_level(&[], &[]));
    assert_eq!(tokenizer.decode(&[97, 256, u32::MAX, 97], true), "a\u{fffd}\u{fffd}a");
    assert!(
        !tokenizer.is_special(256)
            && tokenizer.token_text(256).is_none()
            && tokenizer.token_type(256).is_none()
    );
}

proptest! {
    #[test]
    fn byte_level_decoding_gives_back_any_text(text in any::<String>()) {
        let merges = ["Ġ a", "Ã ©", "a a", "æ Ĺ", "æĹ ¥"];
        let tokenizer = build(byte_level(&["Ġa", "Ã©", "aa", "æĹ", "æĹ¥"], &merges));
        for parse_special in [false, true] {
            let tokens = tokenizer.encode(&text, parse_special, false).unwrap();
            prop_assert_eq!(&tokenizer.decode(&tokens, true), &text);
        }
    }

    /// Merging by rank, one pair after the other over the whole word, as its definition says.
    #[test]
    fn merging_equals_its_definition(word in "[abc]{1,12}", order in Just((0..9usize).collect::<Vec<_>>()).prop_shuffle()) {
        let letters = ["a", "b", "c"];
        let pairs: Vec<(String, String)> =
            order.iter().map(|&pair| (letters[pair / 3].to_owned(), letters[pair % 3].to_owned())).collect();
        // Every pair, and every pair of the first two results.
        let joined: Vec<String> = pairs.iter().map(|(left, right)| format!("{left}{right}")).collect();
        let mut rules = pairs;
        rules.push((joined[0].clone(), joined[1].clone()));
        rules.push((joined[1].clone(), joined[1].clone()));
        let mut extra: Vec<String> = rules.iter().map(|(left, right)| format!("{left}{right}")).collect();
        extra.sort();
        extra.dedup();
        let merges: Vec<String> = rules.iter().map(|(left, right)| format!("{left} {right}")).collect();
        let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
        let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
        let tokenizer = build(byte_level(&extra, &merges));

        let mut parts: Vec<String> = word.chars().map(String::from).collect();
        while let Some((_, at)) = (1..parts.len())
            .filter_map(|at| {
                let rank = rules.iter().position(|(left, right)| *left == parts[at - 1] && *right == parts[at])?;
                Some((rank, at))
            })
            .min()
        {
            let right = parts.remove(at);
            parts[at - 1].push_str(&right);
        }
        prop_assert_eq!(texts(&tokenizer, &word), parts);
    }

    #[test]
    fn any_vocabulary_is_built_or_refused_without_panic(
        tokens in prop::collection::vec("[ab▁<>0x ]{0,3}", 0..8),
        merges in prop::collection::vec("[ab ]{0,4}", 0..4),
        types in prop::collection::vec(1..=6i32, 0..8),
        scores in prop::collection::vec(any::<f32>(), 0..8),
        bos in prop::option::of(0..10u32),
        text in "[ab▁<>0x é]{0,8}",
        pieces in any::<bool>(),
    ) {
        let size = tokens.len();
        let resize = |mut types: Vec<TokenType>| { if size % 3 != 0 { types.resize(size, Normal) } types };
        let types = resize(types.into_iter().filter_map(TokenType::from_number).collect());
        let model = if pieces {
            let mut scores = scores;
            scores.resize(size, 0.0);
            Model::SentencePiece { scores, add_space_prefix: true }
        } else {
            Model::ByteLevel { merges, pre: "qwen2".to_owned() }
        };
        let vocabulary = Vocabulary { types, bos, add_bos: true, ..Vocabulary::new(tokens, model) };
        if let Ok(tokenizer) = Tokenizer::from_vocabulary(vocabulary)
            && let Ok(tokens) = tokenizer.encode(&text, true, true)
        {
            prop_assert!(tokens.iter().all(|&token| (token as usize) < size));
            tokenizer.decode(&tokens, false);
        }
    }
}

#[test]
fn of_two_tokens_with_one_text_the_last_is_meant() {
    // llama.cpp maps a text to the last token that has it.
    let tokenizer = build(byte_level(&["twice", "twice"], &[]));
    assert_eq!(tokenizer.token_id("twice"), Some(257));
    assert_eq!(tokenizer.decode(&[256, 257], false), "twicetwice");
    let tokenizer = build(byte_level(&["a"], &[]));
    assert_eq!(tokenizer.encode("a", true, false).unwrap(), [256]);
}

#[test]
fn padding_is_the_same_whatever_its_type() {
    use TokenType::{Control, Normal, Unused, UserDefined};
    let made = |kind: TokenType, text: &str| {
        let mut vocabulary = byte_level(&[text], &[]);
        vocabulary.types[256] = kind;
        build(vocabulary)
    };
    let plain = build(byte_level(&[], &[]));
    for kind in [Normal, Control, UserDefined, Unused] {
        for text in ["[PAD256]", "<dummy00256>", "<|reserved_256|>", "<unused256>"] {
            let padded = made(kind, text);
            assert_eq!(padded.first_difference(&plain), None, "{text} {kind:?}");
            assert_eq!(plain.first_difference(&padded), None, "{text} {kind:?}");
            assert_eq!(padded.first_difference(&made(Unused, "[PAD256]")), None, "{text}");
        }
    }
    assert_eq!(made(Control, "<x>").first_difference(&made(Unused, "<x>")), None);
    assert!(made(Control, "<x>").first_difference(&made(Control, "<y>")).is_some());
    assert!(made(Control, "<x>").first_difference(&made(Unused, "[PAD256]")).is_some());
}
