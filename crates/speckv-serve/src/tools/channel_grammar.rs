//! Grammars of answers in channels.

use std::fmt::Write as _;

use serde_json::Value;
use speckv_grammar::GrammarSource;

use super::{
    Tool,
    channels::{
        ChannelStart,
        harmony::{CHANNEL, CONSTRAIN, END, MESSAGE, START},
    },
    lark::{quoted, tag, with_layout},
};
use crate::language::Language;

/// Writes grammars for one model and one prompt.
pub struct ChannelGrammar<'a> {
    language: &'a dyn Language,
    /// What comes before the first header.
    lead: String,
}

impl<'a> ChannelGrammar<'a> {
    /// For an answer that begins there.
    pub fn new(language: &'a dyn Language, start: &ChannelStart) -> Self {
        let lead = match start {
            ChannelStart::Between => format!("{} \"assistant\" ", tag(language, START)),
            ChannelStart::Header(_) | ChannelStart::Message(_) => String::new(),
        };
        ChannelGrammar { language, lead }
    }

    fn tag(&self, text: &str) -> String {
        tag(self.language, text)
    }

    /// The rule of messages before the one that matters: reasoning, and before calls text.
    fn before(&self, with_text: bool) -> String {
        let channels = if with_text { "(\"analysis\" | \"commentary\")" } else { "\"analysis\"" };
        format!(
            "before: {} {channels} {} text? {} {} \"assistant\"\ntext: /(?s:.+)/\n",
            self.tag(CHANNEL),
            self.tag(MESSAGE),
            self.tag(END),
            self.tag(START)
        )
    }

    fn answer_header(&self) -> String {
        format!("{} \"final\" {}", self.tag(CHANNEL), self.tag(MESSAGE))
    }

    /// Up to the text of the message in the channel `final`.
    pub fn up_to_answer(&self) -> GrammarSource {
        let (lead, header) = (&self.lead, self.answer_header());
        GrammarSource::Lark(format!("start: {lead}before* {header}\n{}", self.before(false)))
    }

    /// One call of one of the tools. `answer`: a schema that the answer may fit instead.
    pub fn calls(&self, tools: &[&Tool], answer: Option<&Value>) -> GrammarSource {
        let (channel, message) = (self.tag(CHANNEL), self.tag(MESSAGE));
        let constrain = self.tag(CONSTRAIN);
        let names: Vec<String> = (0..tools.len()).map(|index| format!("call{index}")).collect();
        let mut lark = format!("start: {}before* (call", self.lead);
        if answer.is_some() {
            lark.push_str(" | answer");
        }
        let _ = writeln!(lark, ")\ncall: {}", names.join(" | "));
        for (index, tool) in tools.iter().enumerate() {
            let to = format!("to=functions.{}", tool.name);
            let _ = write!(
                lark,
                "call{index}: ({} {channel} \"commentary\" | {channel} {}) \" \" {constrain} \
                 \"json\" {message} arguments{index}\narguments{index}: %json {}\n",
                quoted(&format!(" {to}")),
                quoted(&format!("commentary {to}")),
                with_layout(tool.parameters.clone()),
            );
        }
        if let Some(schema) = answer {
            let (header, schema) = (self.answer_header(), with_layout(schema.clone()));
            let _ = write!(lark, "answer: {header} json\njson: %json {schema}\n");
        }
        GrammarSource::Lark(lark + &self.before(answer.is_none()))
    }
}

/// Every header by which a model may begin a call of this tool.
pub(super) fn call_headers(tool: &Tool) -> Vec<String> {
    let to = format!("to=functions.{}", tool.name);
    let kinds = ["", " json", " <|constrain|>json", "<|constrain|>json"];
    let channels = ["", "<|channel|>commentary", "<|channel|>analysis"];
    let headers = channels
        .into_iter()
        .flat_map(|channel| kinds.map(|kind| format!("{to}{channel}{kind}{MESSAGE}")));
    headers.collect()
}
