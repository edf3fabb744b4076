//! Streamed text equals text decoded at once, whatever the split.

use std::sync::Arc;

use proptest::prelude::*;
use speckv_formats::tokenizer::{
    Model, Passed, StopStrings, StreamDecoder, TokenType, Tokenizer, Vocabulary,
};

/// One token per byte, then a space before `a`, a control token, a user-defined token, one that is
/// not in use.
fn bytes(add_space_prefix: bool) -> Tokenizer {
    let mut tokens: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
    tokens.extend(["▁a", "</s>", "\n", "[PAD]"].map(str::to_owned));
    let model = Model::SentencePiece { scores: vec![0.0; tokens.len()], add_space_prefix };
    let mut vocabulary = Vocabulary::new(tokens, model);
    vocabulary.types[..256].fill(TokenType::Byte);
    vocabulary.types[257] = TokenType::Control;
    vocabulary.types[258] = TokenType::UserDefined;
    vocabulary.types[259] = TokenType::Unused;
    Tokenizer::from_vocabulary(vocabulary).unwrap()
}

fn stream(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<String> {
    let mut decoder = StreamDecoder::new(tokenizer);
    let mut texts: Vec<String> = tokens.iter().map(|&token| decoder.push(token)).collect();
    texts.push(decoder.finish());
    texts
}

#[test]
fn a_character_comes_with_its_last_byte() {
    let tokenizer = bytes(false);
    // "é€" and U+1F642, byte by byte.
    let tokens: Vec<u32> = "é€\u{1f642}".bytes().map(u32::from).collect();
    assert_eq!(stream(&tokenizer, &tokens), ["", "é", "", "", "€", "", "", "", "\u{1f642}", ""]);
}

#[test]
fn only_what_no_byte_can_complete_is_replaced() {
    let tokenizer = bytes(false);
    let a = u32::from(b'a');
    assert_eq!(stream(&tokenizer, &[0xe2, 0x82, a]), ["", "", "\u{fffd}a", ""]);
    assert_eq!(stream(&tokenizer, &[0xe2, 0x82]), ["", "", "\u{fffd}"]);
    assert_eq!(stream(&tokenizer, &[0xff, 0x80]), ["\u{fffd}", "\u{fffd}", ""]);
    // A special token within a character is skipped and does not break it.
    assert_eq!(stream(&tokenizer, &[0xc3, 257, 0xa9]), ["", "", "é", ""]);
}

#[test]
fn a_leading_space_is_encodings_own_or_part_of_a_continuation() {
    let tokenizer = Arc::new(bytes(true));
    let mut answer = StreamDecoder::new(Arc::clone(&tokenizer));
    assert_eq!([answer.push(256), answer.push(256)], ["a", " a"]);
    let mut completion = StreamDecoder::continuing(tokenizer);
    assert_eq!([completion.push(256), completion.push(256)], [" a", " a"]);
}

/// The text up to the stop string that is complete first; at one end, the longest.
fn until_stop(text: &str, stops: &[String]) -> (String, bool) {
    let ends = text.char_indices().map(|(at, character)| at + character.len_utf8());
    for end in ends {
        let longest = stops
            .iter()
            .filter(|stop| !stop.is_empty() && text[..end].ends_with(stop.as_str()))
            .map(String::len)
            .max();
        if let Some(length) = longest {
            return (text[..end - length].to_owned(), true);
        }
    }
    (text.to_owned(), false)
}

#[test]
fn text_is_held_back_while_it_could_become_a_stop_string() {
    let mut stops = StopStrings::new(["\nUser:", "###"]);
    let passed = |text: &str, stopped| Passed { text: text.to_owned(), stopped };
    assert_eq!(stops.push("Hi\nUs"), passed("Hi", false));
    assert_eq!(stops.push("e "), passed("\nUse ", false));
    assert_eq!(stops.push("#"), passed("", false));
    assert_eq!(stops.push("#\nUser"), passed("##", false));
    assert_eq!(stops.push(": more"), passed("", true));
    assert_eq!(stops.found(), Some("\nUser:"));
    assert_eq!(stops.push("x"), passed("", true));
    assert_eq!(stops.finish(), "");
    let mut stops = StopStrings::new(["END"]);
    assert_eq!(
        (stops.push("E").text, stops.finish(), stops.found()),
        (String::new(), "E".to_owned(), None)
    );
    assert_eq!(StopStrings::new([""]).push("a"), passed("a", false));
}

proptest! {
    #[test]
    fn streaming_equals_decoding(
        tokens in prop::collection::vec(prop_oneof![0..262u32, 0xc2..0xf5u32, 0x80..0xc0u32, Just(32), 256..259u32], 0..40),
        add_space_prefix in any::<bool>(),
    ) {
        let tokenizer = bytes(add_space_prefix);
        prop_assert_eq!(stream(&tokenizer, &tokens).concat(), tokenizer.decode(&tokens, true));
    }

    #[test]
    fn valid_text_streams_without_replacement(text in any::<String>()) {
        let tokenizer = bytes(false);
        let tokens: Vec<u32> = text.bytes().map(u32::from).collect();
        prop_assert_eq!(stream(&tokenizer, &tokens).concat(), text);
    }

    #[test]
    fn stop_strings_never_pass_and_no_text_is_lost(
        text in "[abé]{0,24}",
        stops in prop::collection::vec("[abé]{0,4}", 0..4),
        cuts in prop::collection::vec(0..24usize, 0..8),
    ) {
        let mut adapter = StopStrings::new(stops.clone());
        let (mut passed, mut stopped) = (String::new(), false);
        let characters: Vec<char> = text.chars().collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(characters.len())).collect();
        cuts.extend([0, characters.len()]);
        cuts.sort_unstable();
        for cut in cuts.windows(2) {
            let piece: String = characters[cut[0]..cut[1]].iter().collect();
            let step = adapter.push(&piece);
            passed.push_str(&step.text);
            prop_assert!(stops.iter().all(|stop| stop.is_empty() || !passed.contains(stop.as_str())));
            stopped |= step.stopped;
        }
        passed.push_str(&adapter.finish());
        prop_assert_eq!((passed, stopped), until_stop(&text, &stops));
    }
}
