//! Reading an answer in channels: the harmony format of gpt-oss.
//!
//! An answer is a list of messages, `<|channel|>NAME<|message|>TEXT<|end|>`, with
//! `<|start|>assistant` between them. The channel `analysis` is reasoning, `final` and `commentary`
//! are content. A message to a function, `to=functions.NAME` before or after its channel, is a
//! call. Messages of one kind are joined with an empty line between them. The format is described
//! in `docs/format.md` of the repository `openai/harmony`.

use self::harmony::{CHANNEL, END, MESSAGE, START};
use super::{
    part::{Part, content},
    tags::{Found, find},
};

/// The control tokens of the format.
pub mod harmony {
    /// Begins a message, with its author.
    pub const START: &str = "<|start|>";
    /// Before the channel.
    pub const CHANNEL: &str = "<|channel|>";
    /// Before the type of a call's arguments.
    pub const CONSTRAIN: &str = "<|constrain|>";
    /// Between header and text.
    pub const MESSAGE: &str = "<|message|>";
    /// Ends a message.
    pub const END: &str = "<|end|>";
}

/// Whatever ends a message. The last two end the answer too, so that they are seen only where end
/// tokens do not end it.
const ENDS: [&str; 4] = [END, START, "<|return|>", "<|call|>"];

/// Where in a message an answer begins, which its prompt decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelStart {
    /// In a header, of which the prompt has this.
    Header(String),
    /// In the text of a message with this header.
    Message(String),
    /// After the end of a message.
    Between,
}

/// Splits the text of one answer into parts as it comes.
#[derive(Debug)]
pub struct ChannelParser {
    names: Vec<String>,
    state: State,
    text: String,         // not yet understood
    has_text: [bool; 2],  // reasoning, content
    begins_another: bool, // the message at hand has said nothing
    given: Option<usize>, // bytes of the first header that the prompt has, while it is read
    calls: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Message(Kind),
    Between,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reasoning,
    Content,
    Call,
}

impl ChannelParser {
    /// A parser for an answer that begins there, to a request with tools of these names.
    #[must_use]
    pub fn new(names: Vec<String>, start: &ChannelStart) -> Self {
        let (state, text) = match start {
            ChannelStart::Header(header) => (State::Header, header.clone()),
            ChannelStart::Message(header) => (State::Message(kind(header, &[]).0), String::new()),
            ChannelStart::Between => (State::Between, String::new()),
        };
        ChannelParser {
            names,
            state,
            given: (state == State::Header).then_some(text.len()),
            text,
            has_text: [false; 2],
            begins_another: true,
            calls: 0,
        }
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
        // The text of a model that does not keep to the format.
        let said = std::mem::take(&mut self.text);
        let said = self.given.map_or("", |given| &said[given..]);
        if !["<", "to="].iter().any(|mark| said.trim_start().starts_with(mark)) {
            content(&mut parts, said);
        }
        parts
    }

    /// Understands a piece of the text; `false` where there is no more to understand now.
    fn step(&mut self, parts: &mut Vec<Part>, ends: bool) -> bool {
        match self.state {
            State::Header => self.header(parts),
            State::Message(kind) => self.message(kind, parts, ends),
            State::Between => self.between(),
        }
    }

    fn header(&mut self, parts: &mut Vec<Part>) -> bool {
        let Some(at) = self.text.find(MESSAGE) else { return false };
        let (kind, name) = kind(&self.text[..at], &self.names);
        if let Some(name) = name {
            parts.push(Part::Call { index: self.calls, name });
            self.calls += 1;
        }
        self.text.drain(..at + MESSAGE.len());
        self.state = State::Message(kind);
        self.begins_another = true;
        self.given = None;
        true
    }

    fn message(&mut self, kind: Kind, parts: &mut Vec<Part>, ends: bool) -> bool {
        let (mut until, mut mark) = (self.text.len(), "");
        for end in ENDS {
            match find(&self.text, end) {
                Found::At(at) if at < until => (until, mark) = (at, end),
                Found::Perhaps(at) if at < until && !ends => (until, mark) = (at, ""),
                _ => {}
            }
        }
        let said: String = self.text.drain(..until).collect();
        self.say(kind, said, parts);
        if mark.is_empty() {
            return false;
        }
        self.text.drain(..mark.len());
        self.state = if mark == START { State::Header } else { State::Between };
        true
    }

    fn say(&mut self, kind: Kind, mut said: String, parts: &mut Vec<Part>) {
        if said.is_empty() {
            return;
        }
        let begins = std::mem::take(&mut self.begins_another);
        if kind == Kind::Call {
            parts.push(Part::Arguments { index: self.calls.saturating_sub(1), text: said });
            return;
        }
        let had_text =
            std::mem::replace(&mut self.has_text[usize::from(kind == Kind::Content)], true);
        if begins && had_text {
            said.insert_str(0, "\n\n");
        }
        match kind {
            Kind::Content => content(parts, &said),
            _ => parts.push(Part::Reasoning(said)),
        }
    }

    /// A message may begin without [`START`], though it should not.
    fn between(&mut self) -> bool {
        let begun = [(START, START.len()), (CHANNEL, 0)];
        let begun = begun.into_iter().filter_map(|(mark, skip)| Some(self.text.find(mark)? + skip));
        let Some(header) = begun.min() else { return false };
        self.text.drain(..header);
        self.state = State::Header;
        true
    }
}

/// What a message with this header is, with the function that it calls.
fn kind(header: &str, names: &[String]) -> (Kind, Option<String>) {
    let word = |text: &str| {
        let end = text.find(|letter: char| letter.is_whitespace() || letter == '<');
        text[..end.unwrap_or(text.len())].to_owned()
    };
    let after = |mark: &str| header.split_once(mark).map(|(_, rest)| word(rest));
    let function = after("to=").and_then(|to| Some(to.strip_prefix("functions.")?.to_owned()));
    match function.filter(|name| names.contains(name)) {
        Some(name) => (Kind::Call, Some(name)),
        None if after(CHANNEL).is_some_and(|channel| channel == "analysis") => {
            (Kind::Reasoning, None)
        }
        None => (Kind::Content, None),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::parser::{AnswerParser, testing::read_in_pieces},
        *,
    };

    /// Content, reasoning, and calls with their arguments, from pieces of every size.
    fn read_from(start: &ChannelStart, text: &str) -> (String, String, Vec<(String, String)>) {
        let names = || ["f", "get_time"].map(str::to_owned).to_vec();
        read_in_pieces(&[1, 2, 5, 11, 1000], text, || AnswerParser::channels(names(), start))
    }

    fn read(text: &str) -> (String, String, Vec<(String, String)>) {
        read_from(&ChannelStart::Header("assistant".into()), text)
    }

    fn call(name: &str, arguments: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), arguments.to_owned())]
    }

    #[test]
    fn channels_are_reasoning_and_content() {
        let text = "<|channel|>analysis<|message|>2 < 3, so |x|.<|end|>\
                    <|start|>assistant<|channel|>final<|message|>Yes: <|x\n";
        assert_eq!(read(text), ("Yes: <|x\n".into(), "2 < 3, so |x|.".into(), vec![]));
        let cut = "<|channel|>analysis<|message|>cut off <|en";
        assert_eq!(read(cut), (String::new(), "cut off <|en".into(), vec![]));
        assert_eq!(read("<|channel|>fin"), (String::new(), String::new(), vec![]));
        assert_eq!(read("no format"), ("no format".into(), String::new(), vec![]));
    }

    #[test]
    fn messages_of_one_kind_are_joined_with_an_empty_line() {
        let text = "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary\
                    <|message|>b<|end|><|start|>assistant<|channel|>analysis<|message|>c<|end|>\
                    <|start|>assistant<|channel|>analysis<|message|><|end|>\
                    <|start|>assistant<|channel|>final<|message|>d<|return|>";
        assert_eq!(read(text), ("b\n\nd".into(), "a\n\nc".into(), vec![]));
    }

    #[test]
    fn messages_to_functions_are_calls_in_every_form() {
        let arguments = "{\"a\": \"<b>\"}";
        for header in [
            "<|channel|>commentary to=functions.f <|constrain|>json",
            "<|channel|>commentary to=functions.f<|constrain|>json",
            "<|channel|>commentary to=functions.f json",
            "<|channel|>analysis to=functions.f",
            " to=functions.f<|channel|>commentary json",
            " to=functions.f<|channel|>analysis <|constrain|>json",
        ] {
            let text = format!(
                "<|channel|>analysis<|message|>hm<|end|><|start|>assistant{header}<|message|>\
                 {arguments}<|call|>"
            );
            let found = (String::new(), "hm".to_owned(), call("f", arguments));
            assert_eq!(read(&text), found, "{header}");
        }
        let cut = " to=functions.get_time<|channel|>commentary json<|message|>{\"a\":";
        assert_eq!(read(cut).2, call("get_time", "{\"a\":"));
        assert_eq!(read(" to=functions.get_ti"), (String::new(), String::new(), vec![]));
    }

    #[test]
    fn a_message_to_an_unknown_function_is_text() {
        let text = "<|channel|>commentary to=functions.rm json<|message|>{}<|call|>";
        assert_eq!(read(text), ("{}".into(), String::new(), vec![]));
        let text = "<|channel|>analysis to=browser.search<|message|>{}";
        assert_eq!(read(text), (String::new(), "{}".into(), vec![]));
    }

    #[test]
    fn an_answer_goes_on_where_its_prompt_ends() {
        let final_channel = ChannelStart::Message("assistant<|channel|>final".into());
        assert_eq!(read_from(&final_channel, "4.<|end|>").0, "4.");
        let thinking = ChannelStart::Message("assistant<|channel|>analysis".into());
        let text = "so 4<|end|><|start|>assistant<|channel|>final<|message|>4";
        assert_eq!(read_from(&thinking, text), ("4".into(), "so 4".into(), vec![]));
        let text = "<|start|>assistant<|channel|>final<|message|>4";
        assert_eq!(read_from(&ChannelStart::Between, text).0, "4");
        let header = ChannelStart::Header("assistant<|channel|>".into());
        assert_eq!(read_from(&header, "analysis<|message|>x").1, "x");
        let text = "<|channel|>analysis<|message|>x<|end|><|channel|>final<|message|>y";
        assert_eq!(read(text), ("y".into(), "x".into(), vec![]), "without its beginning");
    }
}
