//! Reading an answer: reasoning, calls of tools, and the rest.

use super::{
    CallPart, CallScanner, ToolFormat,
    tags::{Found, find, without_space},
};

/// More of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Content(String),
    /// What the model thinks before it answers.
    Reasoning(String),
    /// A call begins.
    Call {
        /// Its number in the answer, from 0.
        index: usize,
        /// The function.
        name: String,
    },
    /// More of the text of a call's arguments.
    Arguments {
        /// The call's number.
        index: usize,
        /// The text.
        text: String,
    },
}

/// The tags around reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasoningTags {
    /// The tag before it.
    pub open: &'static str,
    /// The tag after it.
    pub close: &'static str,
    /// The prompt has the first tag already.
    pub is_open: bool,
}

/// Splits the text of one answer into parts as it comes.
#[derive(Debug)]
pub struct AnswerParser {
    tools: Option<ToolFormat>,
    names: Vec<String>,
    reasoning: Option<ReasoningTags>,
    state: State,
    text: String, // not yet understood
    calls: usize,
}

#[derive(Debug)]
enum State {
    /// Nothing but white space was said: reasoning may begin.
    Start,
    /// In reasoning; whether any of it was said.
    Reasoning(bool),
    /// In content; whether any of it was said.
    Content(bool),
    /// After the tag before a call.
    BeforeCall,
    /// In a call.
    Call(Box<CallScanner>, String), // what was read of it, while it is unnamed
    /// After a call.
    AfterCall,
    /// In a name that stands before `[ARGS]` or the arguments.
    Name(String),
    /// In arguments without a name beside them: open brackets, in a string, after a backslash.
    Arguments(usize, bool, bool),
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
        let state = match reasoning {
            Some(tags) if tags.is_open => State::Reasoning(false),
            Some(_) => State::Start,
            None => State::Content(false),
        };
        AnswerParser { tools, names, reasoning, state, text: String::new(), calls: 0 }
    }

    /// Calls that have begun.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Takes more text; what it makes certain.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        self.text.push_str(text);
        let mut parts = Vec::new();
        while self.step(&mut parts, false) {}
        parts
    }

    /// Ends the answer; what was held back.
    pub fn finish(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while self.step(&mut parts, true) {}
        match std::mem::replace(&mut self.state, State::Content(true)) {
            State::Call(scanner, read) if !scanner.is_named() => content(&mut parts, &read),
            State::Name(name) => content(&mut parts, &name),
            _ => {}
        }
        parts
    }

    /// Understands a piece of the text; `false` where there is no more to understand now.
    fn step(&mut self, parts: &mut Vec<Part>, ends: bool) -> bool {
        if self.text.is_empty() {
            return false;
        }
        match &self.state {
            State::Start => self.start(ends),
            State::Reasoning(_) => self.reasoning(parts, ends),
            State::Content(_) => self.content(parts, ends),
            State::BeforeCall => self.before_call(parts),
            State::Call(..) => self.call(parts),
            State::AfterCall => self.after_call(ends),
            State::Name(_) => self.name(parts, ends),
            State::Arguments(..) => self.arguments(parts),
        }
    }

    fn start(&mut self, ends: bool) -> bool {
        let Some(tags) = self.reasoning else {
            self.state = State::Content(false);
            return true;
        };
        let said = self.text.trim_start();
        if said.starts_with(tags.open) {
            self.text = said[tags.open.len()..].to_owned();
            self.state = State::Reasoning(false);
            return true;
        }
        if tags.open.starts_with(said) && !ends {
            return false;
        }
        self.state = State::Content(false);
        true
    }

    fn reasoning(&mut self, parts: &mut Vec<Part>, ends: bool) -> bool {
        let State::Reasoning(said) = &mut self.state else { return false };
        if !*said {
            let trimmed = self.text.trim_start().len();
            self.text.drain(..self.text.len() - trimmed);
        }
        let close = self.reasoning.map_or("</think>", |tags| tags.close);
        let (until, next) = match find(&self.text, close) {
            Found::At(at) => (without_space(&self.text[..at]), Some(at + close.len())),
            Found::Perhaps(at) if !ends => (without_space(&self.text[..at]), None),
            _ if ends => (self.text.len(), Some(self.text.len())),
            _ => (without_space(&self.text), None),
        };
        if until > 0 {
            *said = true;
            parts.push(Part::Reasoning(self.text[..until].to_owned()));
        }
        match next {
            Some(next) => {
                self.text.drain(..next);
                self.state = State::Content(false);
                true
            }
            None => {
                self.text.drain(..until);
                false
            }
        }
    }

    fn content(&mut self, parts: &mut Vec<Part>, ends: bool) -> bool {
        let State::Content(said) = &mut self.state else { return false };
        let follows = self.reasoning.is_some() || self.tools.is_some();
        if !*said && follows {
            // White space between reasoning, calls and content belongs to none of them.
            let trimmed = self.text.trim_start().len();
            if trimmed == 0 && !ends {
                return false;
            }
            self.text.drain(..self.text.len() - trimmed);
        }
        let Some(format) = self.tools else {
            *said |= !self.text.is_empty();
            content(parts, &std::mem::take(&mut self.text));
            return false;
        };
        if !*said && format.calls_without_tag() && self.text.starts_with('{') {
            self.state = State::BeforeCall;
            return true;
        }
        let (until, next) = match find(&self.text, format.tag()) {
            Found::At(at) => (without_space(&self.text[..at]), Some(at + format.tag().len())),
            _ if ends => (self.text.len(), None),
            Found::Perhaps(at) => (without_space(&self.text[..at]), None),
            Found::Nowhere => (without_space(&self.text), None),
        };
        *said |= until > 0;
        content(parts, &self.text[..until]);
        match next {
            Some(next) => {
                self.text.drain(..next);
                self.state = State::BeforeCall;
                true
            }
            None => {
                self.text.drain(..until);
                false
            }
        }
    }

    fn before_call(&mut self, parts: &mut Vec<Part>) -> bool {
        let trimmed = self.text.trim_start().len();
        self.text.drain(..self.text.len() - trimmed);
        let is_mistral = self.tools == Some(ToolFormat::Mistral);
        match self.text.chars().next() {
            None => return false,
            Some('[' | ',') if is_mistral => {
                self.text.remove(0);
            }
            Some('{') => self.state = State::Call(Box::default(), String::new()),
            Some(_) if is_mistral => self.state = State::Name(String::new()),
            Some(_) => {
                let tag = self.tools.map_or("", ToolFormat::tag);
                content(parts, tag);
                self.state = State::Content(true);
            }
        }
        true
    }

    fn call(&mut self, parts: &mut Vec<Part>) -> bool {
        let State::Call(scanner, read) = &mut self.state else { return false };
        let mut found = Vec::new();
        let mut taken = 0;
        let was_named = scanner.is_named();
        for letter in self.text.chars() {
            taken += letter.len_utf8();
            if !was_named {
                read.push(letter);
            }
            scanner.push(letter, &mut found);
            // With its name known it is known to be a call, or else text.
            if scanner.is_done() || scanner.is_named() != was_named {
                break;
            }
        }
        self.text.drain(..taken);
        let (is_done, is_named) = (scanner.is_done(), scanner.is_named());
        let read = if is_done && !is_named { std::mem::take(read) } else { String::new() };
        for part in found {
            match part {
                CallPart::Name(name) if self.names.contains(&name) => {
                    parts.push(Part::Call { index: self.calls, name });
                    self.calls += 1;
                }
                CallPart::Name(_) => {
                    // No such tool: what was said is text.
                    let State::Call(_, read) =
                        std::mem::replace(&mut self.state, State::Content(true))
                    else {
                        return true;
                    };
                    content(parts, &read);
                    let rest: String = std::mem::take(&mut self.text);
                    content(parts, &rest);
                    return true;
                }
                CallPart::Arguments(text) => {
                    parts.push(Part::Arguments { index: self.calls.saturating_sub(1), text });
                }
            }
        }
        if is_done {
            if !is_named {
                content(parts, &read);
            }
            self.state = if is_named { State::AfterCall } else { State::Content(true) };
        }
        is_done || is_named != was_named
    }

    fn after_call(&mut self, ends: bool) -> bool {
        let trimmed = self.text.trim_start().len();
        self.text.drain(..self.text.len() - trimmed);
        if self.text.is_empty() {
            return false;
        }
        if self.tools == Some(ToolFormat::Mistral) {
            match self.text.chars().next() {
                Some(',') => self.state = State::BeforeCall,
                Some(']') => {}
                _ => {
                    self.state = State::Content(false);
                    return true;
                }
            }
            self.text.remove(0);
            return true;
        }
        // Llama's calls are separated by semicolons, others by their tags.
        let closing = self.tools.map_or("", ToolFormat::closing_tag);
        if self.text.starts_with(closing) && !closing.is_empty() {
            self.text.drain(..closing.len());
        } else if self.text.starts_with(';') {
            self.text.remove(0);
        } else if closing.starts_with(&self.text) && !ends {
            return false;
        }
        self.state = State::Content(false);
        true
    }

    fn name(&mut self, parts: &mut Vec<Part>, ends: bool) -> bool {
        let State::Name(name) = &mut self.state else { return false };
        match self.text.find(['{', '[']) {
            Some(at) if self.text[at..].starts_with("[ARGS]") => {
                name.push_str(&self.text[..at]);
                self.text.drain(..at + "[ARGS]".len());
            }
            Some(at) if self.text[at..].starts_with('{') => {
                name.push_str(&self.text[..at]);
                self.text.drain(..at);
            }
            Some(at) if "[ARGS]".starts_with(&self.text[at..]) && !ends => return false,
            _ => {
                name.push_str(&std::mem::take(&mut self.text));
                return false;
            }
        }
        let name = std::mem::take(name).trim().to_owned();
        if self.names.contains(&name) {
            parts.push(Part::Call { index: self.calls, name });
            self.calls += 1;
            self.state = State::Arguments(0, false, false);
        } else {
            content(parts, &name);
            self.state = State::Content(true);
        }
        true
    }

    fn arguments(&mut self, parts: &mut Vec<Part>) -> bool {
        let State::Arguments(depth, in_string, escaped) = &mut self.state else { return false };
        let mut taken = 0;
        let mut is_done = false;
        for letter in self.text.chars() {
            taken += letter.len_utf8();
            match letter {
                _ if *escaped => *escaped = false,
                '\\' if *in_string => *escaped = true,
                '"' => *in_string = !*in_string,
                '{' | '[' if !*in_string => *depth += 1,
                '}' | ']' if !*in_string => *depth = depth.saturating_sub(1),
                _ => {}
            }
            is_done = *depth == 0 && letter == '}';
            if is_done {
                break;
            }
        }
        let text: String = self.text.drain(..taken).collect();
        parts.push(Part::Arguments { index: self.calls.saturating_sub(1), text });
        if is_done {
            self.state = State::Content(false);
        }
        is_done
    }
}

/// Adds text to the last part, or as a part of its own.
fn content(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Content(before)) => before.push_str(text),
        _ => parts.push(Part::Content(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THINK: ReasoningTags =
        ReasoningTags { open: "<think>", close: "</think>", is_open: false };

    /// Content, reasoning, and calls with their arguments, from pieces of every size.
    fn read(
        tools: Option<ToolFormat>,
        reasoning: Option<ReasoningTags>,
        text: &str,
    ) -> (String, String, Vec<(String, String)>) {
        let mut outcomes: Vec<_> = [1, 2, 3, 7, 1000]
            .into_iter()
            .map(|size| {
                let names = ["f", "get_time"].map(str::to_owned).to_vec();
                let mut parser = AnswerParser::new(tools, names, reasoning);
                let letters: Vec<char> = text.chars().collect();
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
                    </tool_call>\n<tool_call>{\"name\": \"get_time\", \"arguments\": {}}</tool_call>";
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
            "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": [1]}}, {\"name\": \"get_time\", \
             \"arguments\": {}}]",
            "[TOOL_CALLS]f[ARGS]{\"a\": [1]}[TOOL_CALLS]get_time[ARGS]{}",
            "[TOOL_CALLS]f{\"a\": [1]}[TOOL_CALLS]get_time{}",
        ] {
            let expected = (String::new(), String::new(), found.clone());
            assert_eq!(read(mistral, None, text), expected, "{text}");
        }
    }
}
