//! Reading an answer: reasoning, calls of tools, and the rest.

use super::{
    ToolFormat,
    channels::{ChannelParser, ChannelStart},
    part::{Part, ReasoningTags},
    tagged::TaggedParser,
};

/// Splits the text of one answer into parts as it comes.
#[derive(Debug)]
pub enum AnswerParser {
    /// Of a format with tags.
    Tagged(TaggedParser),
    /// Of a format with channels.
    Channels(ChannelParser),
}

impl AnswerParser {
    /// A parser for an answer to a request with these tools (none: no format), and for a model with
    /// such reasoning.
    #[must_use]
    pub fn new(
        tools: Option<ToolFormat>,
        names: Vec<String>,
        reasoning: Option<ReasoningTags>,
    ) -> Self {
        AnswerParser::Tagged(TaggedParser::new(tools, names, reasoning))
    }

    /// A parser for an answer in channels that begins there.
    #[must_use]
    pub fn channels(names: Vec<String>, start: &ChannelStart) -> Self {
        AnswerParser::Channels(ChannelParser::new(names, start))
    }

    /// Calls that have begun.
    #[must_use]
    pub fn calls(&self) -> usize {
        match self {
            AnswerParser::Tagged(parser) => parser.calls(),
            AnswerParser::Channels(parser) => parser.calls(),
        }
    }

    /// Takes more text; what it makes certain.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        match self {
            AnswerParser::Tagged(parser) => parser.push(text),
            AnswerParser::Channels(parser) => parser.push(text),
        }
    }

    /// Ends the answer; what was held back.
    pub fn finish(&mut self) -> Vec<Part> {
        match self {
            AnswerParser::Tagged(parser) => parser.finish(),
            AnswerParser::Channels(parser) => parser.finish(),
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Content, reasoning, and calls with their arguments, the same from pieces of each of these
    /// sizes in letters.
    pub(in super::super) fn read_in_pieces(
        sizes: &[usize],
        text: &str,
        parser: impl Fn() -> AnswerParser,
    ) -> (String, String, Vec<(String, String)>) {
        let letters: Vec<char> = text.chars().collect();
        let mut outcomes: Vec<_> = sizes
            .iter()
            .map(|&size| {
                let mut parser = parser();
                let mut parts: Vec<Part> = letters
                    .chunks(size)
                    .flat_map(|piece| parser.push(&piece.iter().collect::<String>()))
                    .collect();
                parts.extend(parser.finish());
                let (mut content, mut thought, mut calls) =
                    (String::new(), String::new(), Vec::new());
                for part in parts {
                    match part {
                        Part::Content(more) => content.push_str(&more),
                        Part::Reasoning(more) => thought.push_str(&more),
                        Part::Call { index, name } => {
                            assert_eq!(index, calls.len());
                            calls.push((name, String::new()));
                        }
                        Part::Arguments { index, text } => calls[index].1.push_str(&text),
                    }
                }
                assert_eq!(parser.calls(), calls.len());
                (content, thought, calls)
            })
            .collect();
        outcomes.dedup();
        assert_eq!(outcomes.len(), 1, "the pieces make a difference: {outcomes:?}");
        outcomes.remove(0)
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::read_in_pieces, *};

    const THINK: ReasoningTags =
        ReasoningTags { open: "<think>", close: "</think>", is_open: false };

    /// Content, reasoning, and calls with their arguments, from pieces of every size.
    fn read(
        tools: Option<ToolFormat>,
        reasoning: Option<ReasoningTags>,
        text: &str,
    ) -> (String, String, Vec<(String, String)>) {
        let names = || ["f", "get_time"].map(str::to_owned).to_vec();
        read_in_pieces(&[1, 2, 3, 7, 1000], text, || AnswerParser::new(tools, names(), reasoning))
    }

    fn calls(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn reasoning_is_apart_from_the_answer() {
        let read = |text| {
            let (content, thought, _) = read(None, Some(THINK), text);
            (content, thought)
        };
        let expected = ("Yes <b>.".to_owned(), "Is it?\n\nIt is.".to_owned());
        assert_eq!(read("<think>\nIs it?\n\nIt is.\n</think>\n\nYes <b>."), expected);
        assert_eq!(read("\n<think></think>ok"), ("ok".into(), String::new()));
        assert_eq!(read("No tags: 1 < 2"), ("No tags: 1 < 2".into(), String::new()));
        assert_eq!(read("<think>cut off </thi"), (String::new(), "cut off </thi".into()));
        assert_eq!(read("<thin"), ("<thin".into(), String::new()));
    }

    #[test]
    fn reasoning_that_the_prompt_began_needs_no_tag() {
        let tags = Some(ReasoningTags { is_open: true, ..THINK });
        let (content, thought, _) = read(None, tags, "hm\n</think>\nfine");
        assert_eq!((content.as_str(), thought.as_str()), ("fine", "hm"));
    }

    #[test]
    fn calls_of_hermes_are_found_between_text() {
        let hermes = Some(ToolFormat::Hermes);
        let text = "I look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"<x>\"}}\n\
                    </tool_call>\n<tool_call>{\"name\": \"get_time\", \"arguments\": \
                    {}}</tool_call>";
        let found = calls(&[("f", "{\"a\": \"<x>\"}"), ("get_time", "{}")]);
        assert_eq!(read(hermes, None, text), ("I look.".into(), String::new(), found));
        for plain in ["no call", "a <tool", "<tool_call>no JSON", "1 < 2\n"] {
            assert_eq!(read(hermes, None, plain), (plain.into(), String::new(), vec![]), "{plain}");
        }
        let cut = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1";
        assert_eq!(read(hermes, None, cut).2, calls(&[("f", "{\"a\": 1")]));
        let both = "<think>x</think><tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
        let found = (String::new(), "x".to_owned(), calls(&[("f", "{}")]));
        assert_eq!(read(hermes, Some(THINK), both), found);
    }

    #[test]
    fn a_call_of_an_unknown_tool_is_text() {
        let text = "{\"name\": \"rm\", \"parameters\": {}}";
        assert_eq!(read(Some(ToolFormat::Llama), None, text), (text.into(), String::new(), vec![]));
        let json = "{\"city\": \"Bern\"}";
        assert_eq!(read(Some(ToolFormat::Llama), None, json), (json.into(), String::new(), vec![]));
    }

    #[test]
    fn calls_of_llama_are_the_whole_answer() {
        let llama = Some(ToolFormat::Llama);
        let found = calls(&[("f", "{\"a\": 1}")]);
        for text in [
            "{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
            "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
        ] {
            assert_eq!(read(llama, None, text), (String::new(), String::new(), found.clone()));
        }
        let two = "{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"f\", \"parameters\": {}}";
        assert_eq!(read(llama, None, two).2, calls(&[("f", "{}"), ("f", "{}")]));
    }

    #[test]
    fn calls_of_mistral_are_a_list_or_named_arguments() {
        let mistral = Some(ToolFormat::Mistral);
        let found = calls(&[("f", "{\"a\": [1]}"), ("get_time", "{}")]);
        for text in [
            "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": [1]}}, \
            {\"name\": \"get_time\", \
             \"arguments\": {}}]",
            "[TOOL_CALLS]f[ARGS]{\"a\": [1]}[TOOL_CALLS]get_time[ARGS]{}",
            "[TOOL_CALLS]f{\"a\": [1]}[TOOL_CALLS]get_time{}",
        ] {
            let expected = (String::new(), String::new(), found.clone());
            assert_eq!(read(mistral, None, text), expected, "{text}");
        }
    }
}
