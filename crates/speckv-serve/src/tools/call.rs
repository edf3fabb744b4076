//! A call as JSON, read as it comes.

/// What more of a call is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallPart {
    /// The function's name.
    Name(String),
    /// More of the text of its arguments.
    Arguments(String),
}

/// Reads an object with `name` and `arguments` (or `parameters`) character by character. The text
/// of the arguments is as the model wrote it.
#[derive(Debug, Default)]
pub(super) struct CallScanner {
    depth: usize,
    in_string: bool,
    escaped: bool,
    string: String,      // of the key, or of the name, with its quotes
    key: Option<String>, // at depth 1
    has_value: bool,     // the value of `key` has begun
    named: bool,
    waiting: String, // arguments that came before the name
    done: bool,
}

const ARGUMENTS: [&str; 2] = ["arguments", "parameters"];

impl CallScanner {
    /// Whether the object has ended.
    #[must_use]
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the name is known.
    #[must_use]
    pub(super) fn is_named(&self) -> bool {
        self.named
    }

    /// Reads a character; what it makes known is added to `parts`.
    pub(super) fn push(&mut self, letter: char, parts: &mut Vec<CallPart>) {
        if self.done {
            return;
        }
        let within = self.depth == 1 && self.key.is_some() && self.has_value || self.depth > 1;
        if self.in_string {
            self.quoted(letter, within, parts);
            return;
        }
        match letter {
            '"' => {
                self.in_string = true;
                if self.depth == 1 {
                    self.string.clear();
                    self.string.push(letter);
                    self.has_value |= self.key.is_some();
                }
                self.argument(letter, parts);
            }
            '{' | '[' => {
                self.has_value |= self.depth == 1;
                self.depth += 1;
                if self.depth > 1 {
                    self.argument(letter, parts);
                }
            }
            '}' | ']' => {
                if self.depth > 1 {
                    self.argument(letter, parts);
                }
                self.depth = self.depth.saturating_sub(1);
                self.done = self.depth == 0;
            }
            ',' if self.depth == 1 => {
                self.key = None;
                self.has_value = false;
            }
            ':' if self.depth == 1 && !self.has_value => {
                self.key = serde_json::from_str(&self.string).ok();
            }
            letter if letter.is_whitespace() && self.depth <= 1 => {}
            letter => {
                self.has_value |= self.depth == 1;
                self.argument(letter, parts);
            }
        }
    }

    fn quoted(&mut self, letter: char, within: bool, parts: &mut Vec<CallPart>) {
        if self.depth == 1 {
            self.string.push(letter);
        }
        if within {
            self.argument(letter, parts);
        }
        if self.escaped {
            self.escaped = false;
        } else if letter == '\\' {
            self.escaped = true;
        } else if letter == '"' {
            self.in_string = false;
            if self.depth == 1 && self.has_value && self.key.as_deref() == Some("name") {
                let name: String = serde_json::from_str(&self.string).unwrap_or_default();
                self.named = true;
                parts.push(CallPart::Name(name));
                let waiting = std::mem::take(&mut self.waiting);
                if !waiting.is_empty() {
                    parts.push(CallPart::Arguments(waiting));
                }
            }
        }
    }

    /// A character of the arguments, if it is one.
    fn argument(&mut self, letter: char, parts: &mut Vec<CallPart>) {
        if !self.key.as_deref().is_some_and(|key| ARGUMENTS.contains(&key)) {
            return;
        }
        if !self.named {
            self.waiting.push(letter);
        } else if let Some(CallPart::Arguments(text)) = parts.last_mut() {
            text.push(letter);
        } else {
            parts.push(CallPart::Arguments(letter.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> (Option<String>, String, bool) {
        let (mut scanner, mut parts) = (CallScanner::default(), Vec::new());
        let (mut name, mut arguments) = (None, String::new());
        for letter in text.chars() {
            scanner.push(letter, &mut parts);
            for part in parts.drain(..) {
                match part {
                    CallPart::Name(found) => name = Some(found),
                    CallPart::Arguments(more) => arguments.push_str(&more),
                }
            }
        }
        (name, arguments, scanner.is_done())
    }

    #[test]
    fn name_and_arguments_are_found_in_any_order() {
        let arguments = r#"{"a": [1, {"b": "x}\" ,"}], "name": "no"}"#;
        for text in [
            format!(r#"{{"name": "f", "arguments": {arguments}}}"#),
            format!(r#" {{"id": "x", "name":"f","parameters":{arguments} , "z": 1}}"#),
            format!(r#"{{"arguments": {arguments}, "name": "f"}}"#),
        ] {
            assert_eq!(scan(&text), (Some("f".into()), arguments.to_owned(), true), "{text}");
        }
        assert_eq!(scan(r#"{"name": "a\"b"}"#), (Some("a\"b".into()), String::new(), true));
    }

    #[test]
    fn a_call_that_is_cut_is_not_done() {
        assert_eq!(scan(r#"{"name": "f", "arg"#), (Some("f".into()), String::new(), false));
        let cut = scan(r#"{"name": "f", "arguments": {"a": "}"#);
        assert_eq!(cut, (Some("f".into()), r#"{"a": "}"#.into(), false));
    }
}
