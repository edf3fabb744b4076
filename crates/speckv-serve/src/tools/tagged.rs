//! Reading an answer whose reasoning and calls stand between tags.

use super::{
    ToolFormat,
    call::{CallPart, CallScanner},
    part::{Part, ReasoningTags, content},
    tags::{Found, find, without_space},
};

/// Splits the text of one answer into parts as it comes.
#[derive(Debug)]
pub struct TaggedParser {
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

impl TaggedParser {
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
        TaggedParser { tools, names, reasoning, state, text: String::new(), calls: 0 }
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
        if let Some(rest) = said.strip_prefix(tags.open) {
            self.text = rest.to_owned();
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
