//! Templates give what Jinja2 gives, with the settings of `transformers`. `jinja/expected.py` made
//! the expected texts; its expressions and structures are in the modules beside it.

use serde::Deserialize;
use serde_json::{Map, Value};
use speckv_formats::chat_template::{ChatTemplate, Conversation};

#[derive(Deserialize)]
struct Table {
    conversations: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    conversation: String,
    /// None where Jinja2 fails.
    expected: Option<String>,
}

fn conversation(fields: &Value) -> Conversation {
    let mut conversation = Conversation { add_generation_prompt: true, ..Conversation::default() };
    for (name, value) in fields.as_object().expect("an object") {
        match name.as_str() {
            "messages" => conversation.messages = value.as_array().expect("a list").clone(),
            "tools" => conversation.tools = value.clone(),
            "add_generation_prompt" => conversation.add_generation_prompt = value == true,
            _ => drop(conversation.variables.insert(name.clone(), value.clone())),
        }
    }
    conversation
}

#[test]
fn templates_give_what_jinja2_gives() {
    let table: Table = serde_json::from_str(include_str!("jinja/expected.json")).expect("a table");
    let mut wrong = Vec::new();
    for Case { template, conversation: name, expected } in &table.cases {
        let conversation = conversation(&table.conversations[name]);
        // Content is given as it is: these templates are not to be helped.
        let got = ChatTemplate::new(template, "<s>", "</s>")
            .and_then(|made| made.with_any_content().prompt(&conversation))
            .map(|prompt| prompt.into_text());
        if got.as_deref().ok() != expected.as_deref() {
            wrong.push(format!("{template}\n  for {name}\n  expected {expected:?}\n  got {got:?}"));
        }
    }
    let (count, of) = (wrong.len(), table.cases.len());
    assert!(count == 0, "{count} of {of} differ:\n{}", wrong.join("\n"));
    assert!(of > 600, "{of} cases");
}
