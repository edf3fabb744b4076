//! Shader text with loops and conditions that are resolved before compilation.
//!
//! A line that starts with `//!` is a directive:
//!
//! ```text
//! //!for a 4        the lines up to //!end, four times; {a} in them is 0, 1, 2, 3
//! //!if NAME        the lines up to //!else or //!end, if NAME is set and not 0
//! //!use file       the text of another template, or of the one that {NAME} names
//! ```
//!
//! The number after `for` may be a name. `{NAME}` is replaced by the value of a name everywhere.
//! Compilers unroll nothing that they do not see unrolled, so that the unrolled text is what makes
//! sums stay in registers.

use std::collections::BTreeMap;

/// Values of names in a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    /// The same values and one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    /// The same values and a condition.
    #[must_use]
    pub fn when(self, name: &str, holds: bool) -> Self {
        self.with(name, u32::from(holds))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, word: &str) -> usize {
        let word = self.get(word).unwrap_or(word);
        word.parse().unwrap_or_else(|_| panic!("\"{word}\" is no number in a shader template"))
    }

    fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "0")
    }
}

/// The text of a template with its directives resolved. `file` gives the text of another template.
///
/// # Panics
/// If directives do not match, or a name has no value where a number is needed: the templates are
/// part of the program, and a test expands all of them.
#[must_use]
pub fn expand(text: &str, values: &Values, file: &dyn Fn(&str) -> &'static str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::with_capacity(4 * text.len());
    let end = lines_into(&lines, 0, values, file, &mut out);
    assert!(end == lines.len(), "line {} ends a block that does not begin", end + 1);
    out
}

/// The directive of a line: its name and its words.
fn directive(line: &str) -> Option<(&str, Vec<&str>)> {
    let mut words = line.trim_start().strip_prefix("//!")?.split_whitespace();
    Some((words.next()?, words.collect()))
}

/// Expands lines from `at` on, up to the `end` or `else` of the block around them. Returns where
/// that is.
fn lines_into(
    lines: &[&str],
    mut at: usize,
    values: &Values,
    file: &dyn Fn(&str) -> &'static str,
    out: &mut String,
) -> usize {
    while let Some(line) = lines.get(at) {
        match directive(line) {
            None => {
                replace_into(line, values, out);
                at += 1;
            }
            Some(("use", words)) => {
                let name = words[0].trim_matches(['{', '}']);
                out.push_str(&expand(file(values.get(name).unwrap_or(name)), values, file));
                at += 1;
            }
            Some(("for", words)) => {
                let mut end = block_end(lines, at + 1);
                for i in 0..values.number(words[1]) {
                    let inner = values.clone().with(words[0], i);
                    end = lines_into(lines, at + 1, &inner, file, out);
                }
                at = end + 1;
            }
            Some(("if", words)) => {
                let middle = block_end(lines, at + 1);
                let has_else = directive(lines[middle]).is_some_and(|(name, _)| name == "else");
                if values.is_set(words[0]) {
                    lines_into(lines, at + 1, values, file, out);
                } else if has_else {
                    lines_into(lines, middle + 1, values, file, out);
                }
                at = if has_else { block_end(lines, middle + 1) } else { middle } + 1;
            }
            Some(("end" | "else", _)) => return at,
            Some((name, _)) => panic!("unknown directive \"{name}\" in a shader template"),
        }
    }
    at
}

/// The line of the `end` or `else` that belongs to the block whose first line is `at`.
fn block_end(lines: &[&str], mut at: usize) -> usize {
    let mut depth = 0;
    loop {
        match directive(lines.get(at).copied().expect("a block of a shader template ends")) {
            Some(("for" | "if", _)) => depth += 1,
            Some(("end" | "else", _)) if depth == 0 => return at,
            Some(("end", _)) => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// Appends a line with `{NAME}` replaced.
fn replace_into(line: &str, values: &Values, out: &mut String) {
    let mut rest = line;
    while let Some(start) = rest.find('{') {
        let end = rest[start..].find('}').map(|end| start + end);
        let value = end.and_then(|end| values.get(&rest[start + 1..end]));
        out.push_str(&rest[..start]);
        match (value, end) {
            (Some(value), Some(end)) => {
                out.push_str(value);
                rest = &rest[end + 1..];
            }
            _ => {
                out.push('{');
                rest = &rest[start + 1..];
            }
        }
    }
    out.push_str(rest);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_file(_: &str) -> &'static str {
        "included {N}\n"
    }

    #[test]
    fn loops_repeat_and_nest_and_conditions_choose() {
        let text = "a {N}\n//!for i N\n//!for j 2\nx{i}{j} { {k} }\n//!end\n//!end\n\
                    //!if YES\nyes\n//!if NO\nnever\n//!else\nbut\n//!end\n//!else\nno\n//!end\n\
                    //!use other\nlast";
        let values = Values::default().with("N", 2).when("YES", true).when("NO", false);
        let expected = "a 2\nx00 { {k} }\nx01 { {k} }\nx10 { {k} }\nx11 { {k} }\nyes\nbut\n\
                        included 2\nlast\n";
        assert_eq!(expand(text, &values, &no_file), expected);
    }

    #[test]
    fn a_loop_of_no_turns_leaves_nothing() {
        assert_eq!(expand("//!for i 0\nx\n//!end\ny", &Values::default(), &no_file), "y\n");
    }
}
