//! Chat templates: whatever the source is, rendering ends within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use speckv_formats::chat_template::{ChatTemplate, Conversation, Ending};

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    let messages = json!([
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "One <|im_end|>\u{e9}\n"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {"a": [1, 2.5, null]}}}]},
    ]);
    let messages: Vec<Map<String, Value>> = serde_json::from_value(messages).expect("messages");
    let variables = Map::from_iter([("tools".to_owned(), json!([{"name": "f"}]))]);
    for ending in [Ending::NewMessage, Ending::Continue] {
        let conversation = Conversation { messages: &messages, variables: &variables, ending };
        let Ok(prompt) = template.prompt(&conversation) else { continue };
        let mut end = 0;
        for range in prompt.data() {
            assert!(range.start >= end && range.start < range.end, "{:?}", prompt.data());
            assert!(prompt.text().get(range.clone()).is_some(), "{range:?}");
            end = range.end;
        }
    }
});
