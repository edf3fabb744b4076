//! Messages as the templates of models with channels take them.

use serde_json::{Map, Value};

type Message = Map<String, Value>;

/// Reasoning becomes `thinking`, and a message has one call: such a template writes the first one
/// only, and takes the message after it for its result.
///
/// A template of this kind refuses reasoning beside text in a message with a call. Both are then
/// reasoning, in this order.
pub(super) fn in_channels(messages: Vec<Message>) -> Vec<Message> {
    let mut written = Vec::with_capacity(messages.len());
    let mut messages = messages.into_iter().peekable();
    while let Some(mut message) = messages.next() {
        let thought = taken_text(&mut message, "reasoning_content");
        let Some(Value::Array(calls)) = message.remove("tool_calls") else {
            think(&mut message, thought);
            written.push(message);
            continue;
        };
        let said = taken_text(&mut message, "content");
        message.insert("content".into(), "".into());
        let both = [thought, said].into_iter().filter(|text| !text.is_empty());
        think(&mut message, both.collect::<Vec<_>>().join("\n\n"));
        let mut results = Vec::new();
        while let Some(result) = messages.next_if(is_result) {
            results.push(result);
        }
        for call in calls {
            let of_call = |result: &Message| {
                let id = result.get("tool_call_id").filter(|id| !id.is_null());
                id.is_none_or(|id| call.get("id") == Some(id))
            };
            let place = results.iter().position(of_call);
            message.insert("tool_calls".into(), Value::Array(vec![call]));
            written.push(message.clone());
            written.extend(place.map(|place| results.remove(place)));
            message.remove("thinking");
        }
        written.extend(results);
    }
    written
}

fn is_result(message: &Message) -> bool {
    message.get("role").is_some_and(|role| role == "tool")
}

fn taken_text(message: &mut Message, name: &str) -> String {
    match message.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

fn think(message: &mut Message, thought: String) {
    if !thought.is_empty() {
        message.insert("thinking".into(), thought.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(messages: &Value) -> Value {
        let messages = messages.as_array().expect("a list").iter();
        let messages = messages.map(|message| message.as_object().expect("an object").clone());
        json!(in_channels(messages.collect()))
    }

    #[test]
    fn each_call_is_followed_by_its_result() {
        let call = |id: &str| json!({"id": id, "function": {"name": id, "arguments": {}}});
        let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": id});
        let one = |id: &str| json!({"role": "assistant", "content": "", "tool_calls": [call(id)]});
        let mut first = one("a");
        first["thinking"] = "hm\n\nI look".into();
        let messages = json!([{"role": "user", "content": "hi"},
            {"role": "assistant", "content": "I look", "reasoning_content": "hm",
                "tool_calls": [call("a"), call("b")]},
            result("b"), result("a"), {"role": "assistant", "content": "done"}]);
        let expected = json!([{"role": "user", "content": "hi"}, first, result("a"), one("b"),
            result("b"), {"role": "assistant", "content": "done"}]);
        assert_eq!(written(&messages), expected);
    }

    #[test]
    fn results_without_ids_belong_to_the_calls_in_order_and_none_is_lost() {
        let call = json!({"function": {"name": "f", "arguments": {}}});
        let result = |text: &str| json!({"role": "tool", "content": text});
        let one = json!({"role": "assistant", "content": "", "tool_calls": [call]});
        let both = json!({"role": "assistant", "content": "", "tool_calls": [call, call]});
        let messages = json!([both, result("1"), result("2"), result("3")]);
        let expected = json!([one, result("1"), one, result("2"), result("3")]);
        assert_eq!(written(&messages), expected);
    }

    #[test]
    fn reasoning_of_a_message_is_thinking() {
        let messages = json!([{"role": "assistant", "content": "4", "reasoning_content": "2+2"}]);
        let expected = json!([{"role": "assistant", "content": "4", "thinking": "2+2"}]);
        assert_eq!(written(&messages), expected);
    }
}
