//! Templates give what Jinja2 gives, with the settings of `transformers`. `jinja/expected.py` made
//! the expected texts; its expressions and structures are in the modules beside it.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use speckv_formats::chat_template::{ChatTemplate, Conversation, Ending, TemplateError};

#[derive(Deserialize)]
struct Table {
    conversations: HashMap<String, Map<String, Value>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    conversation: String,
    /// None where Jinja2 fails.
    expected: Option<String>,
}

fn prompt(source: &str, fields: &Map<String, Value>) -> Result<String, TemplateError> {
    let mut variables = fields.clone();
    let messages = variables.remove("messages").expect("messages");
    let messages: Vec<Map<String, Value>> = serde_json::from_value(messages).expect("objects");
    let ending = match variables.remove("add_generation_prompt") {
        Some(Value::Bool(false)) => Ending::Nothing,
        _ => Ending::NewMessage,
    };
    let conversation = Conversation { messages: &messages, variables: &variables, ending };
    // Content is given as it is: these templates are not to be helped.
    let template = ChatTemplate::new(source, "<s>", "</s>")?.with_any_content();
    template.prompt(&conversation).map(|prompt| prompt.into_text())
}

#[test]
fn templates_give_what_jinja2_gives() {
    let table: Table = serde_json::from_str(include_str!("jinja/expected.json")).expect("a table");
    let mut wrong = Vec::new();
    for Case { template, conversation: name, expected } in &table.cases {
        let got = prompt(template, &table.conversations[name]);
        if got.as_deref().ok() != expected.as_deref() {
            wrong.push(format!("{template}\n  for {name}\n  expected {expected:?}\n  got {got:?}"));
        }
    }
    let (count, of) = (wrong.len(), table.cases.len());
    assert!(count == 0, "{count} of {of} differ:\n{}", wrong.join("\n"));
    assert!(of > 600, "{of} cases");
}
