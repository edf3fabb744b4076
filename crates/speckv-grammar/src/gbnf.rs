//! llama.cpp's grammars.

use std::{collections::HashMap, fmt::Write as _};

use crate::source::quoted;

/// Writes a grammar in GBNF as a Lark grammar of the same language. The rule `root` is the answer.
///
/// Understood are rules, literals, character classes, `.`, groups, alternatives, the repetitions
/// `*`, `+`, `?` and `{m,n}`, and comments.
///
/// ```
/// use speckv_grammar::gbnf_to_lark;
///
/// let lark = gbnf_to_lark("root ::= digit+ # a number\ndigit ::= [0-9]")?;
/// assert_eq!(lark, "start: r_digit +\nr_digit: /[0-9]/\n");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// A syntax error with its line, a rule that is not there, or no rule `root`.
pub fn gbnf_to_lark(text: &str) -> Result<String, String> {
    let items = items(text)?;
    let mut names = Names::default();
    let mut lark = String::new();
    let mut at = 0;
    while at < items.len() {
        let (line, Item::Name(name)) = &items[at] else {
            return Err(format!("line {}: expected a rule, such as root ::= \"yes\"", items[at].0));
        };
        if !matches!(items.get(at + 1), Some((_, Item::Is))) {
            return Err(format!("line {line}: expected ::= after the rule name {name:?}"));
        }
        if !names.defined.insert(name.clone()) {
            return Err(format!("line {line}: the rule {name:?} is there twice"));
        }
        let _ = write!(lark, "{}:", names.of(name, *line));
        at += 2;
        let mut depth = 0_usize;
        while at < items.len() && !matches!(items.get(at + 1), Some((_, Item::Is))) {
            let (line, item) = &items[at];
            match item {
                Item::Name(name) => {
                    let name = names.of(name, *line);
                    let _ = write!(lark, " {name}");
                }
                Item::Text(text) if text.is_empty() => lark.push_str(" \"\""),
                Item::Text(text) => {
                    let _ = write!(lark, " {}", quoted(text));
                }
                Item::Raw(raw) => {
                    match raw.as_str() {
                        "(" => depth += 1,
                        ")" => match depth.checked_sub(1) {
                            Some(less) => depth = less,
                            None => return Err(format!("line {line}: ) without (")),
                        },
                        _ => {}
                    }
                    let _ = write!(lark, " {raw}");
                }
                Item::Is => return Err(format!("line {line}: ::= without a rule name")),
            }
            at += 1;
        }
        if depth > 0 {
            return Err(format!("line {line}: ( without ) in the rule {name:?}"));
        }
        lark.push('\n');
    }
    let missing = names.used.iter().find(|(name, _)| !names.defined.contains(*name));
    if let Some((name, line)) = missing {
        return Err(format!("line {line}: there is no rule {name:?}"));
    }
    if !names.defined.contains("root") {
        return Err("expected a rule named root, which is the answer".to_owned());
    }
    Ok(lark)
}

#[derive(Debug)]
enum Item {
    Name(String),
    Is,
    Text(String),
    Raw(String), // the same in Lark
}

/// Lark's names of rules.
#[derive(Default)]
struct Names {
    lark: HashMap<String, String>,
    used: HashMap<String, usize>, // with the line of the first use
    defined: std::collections::HashSet<String>,
}

impl Names {
    fn of(&mut self, name: &str, line: usize) -> String {
        self.used.entry(name.to_owned()).or_insert(line);
        if let Some(known) = self.lark.get(name) {
            return known.clone();
        }
        let mut made = match name {
            "root" => "start".to_owned(),
            name => {
                let letters = name.chars().map(|letter| match letter {
                    'a'..='z' | '0'..='9' => letter,
                    _ => '_',
                });
                format!("r_{}", letters.collect::<String>())
            }
        };
        while self.lark.values().any(|other| *other == made) {
            made.push('_');
        }
        self.lark.insert(name.to_owned(), made.clone());
        made
    }
}

fn items(text: &str) -> Result<Vec<(usize, Item)>, String> {
    let mut items = Vec::new();
    let mut letters = text.chars().peekable();
    let mut line = 1;
    while let Some(letter) = letters.next() {
        let item = match letter {
            '\n' => {
                line += 1;
                continue;
            }
            letter if letter.is_whitespace() => continue,
            '#' => {
                while letters.next_if(|&letter| letter != '\n').is_some() {}
                continue;
            }
            ':' => {
                let rest = (letters.next(), letters.next());
                if rest != (Some(':'), Some('=')) {
                    return Err(format!("line {line}: expected ::=, got :"));
                }
                Item::Is
            }
            '"' => Item::Text(literal(&mut letters, line)?),
            '[' => Item::Raw(class(&mut letters, line)?),
            '.' => Item::Raw("/(?s:.)/".to_owned()),
            '{' => {
                let mut range = String::from("{");
                for letter in letters.by_ref() {
                    range.push(letter);
                    if letter == '}' {
                        break;
                    }
                }
                if !range.ends_with('}') {
                    return Err(format!("line {line}: {{ without }}"));
                }
                Item::Raw(range)
            }
            '(' | ')' | '|' | '*' | '+' | '?' => Item::Raw(letter.to_string()),
            letter if letter.is_ascii_alphanumeric() || letter == '_' => {
                let mut name = letter.to_string();
                let part = |letter: &char| {
                    letter.is_ascii_alphanumeric() || *letter == '-' || *letter == '_'
                };
                while let Some(letter) = letters.next_if(part) {
                    name.push(letter);
                }
                Item::Name(name)
            }
            other => return Err(format!("line {line}: {other:?} is not part of GBNF")),
        };
        items.push((line, item));
    }
    Ok(items)
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn literal(letters: &mut Letters<'_>, line: usize) -> Result<String, String> {
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return Ok(text),
            '\\' => text.push(escape(letters, line)?),
            letter => text.push(letter),
        }
    }
    Err(format!("line {line}: \" without an end"))
}

/// A class as a regular expression of one character.
fn class(letters: &mut Letters<'_>, line: usize) -> Result<String, String> {
    let mut regex = String::from("/[");
    if letters.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    let mut is_empty = true;
    while let Some(letter) = letters.next() {
        let letter = match letter {
            ']' if is_empty => return Err(format!("line {line}: [] matches no character")),
            ']' => {
                regex.push_str("]/");
                return Ok(regex);
            }
            '-' if !is_empty && letters.peek() != Some(&']') => {
                regex.push('-');
                continue;
            }
            '\\' => escape(letters, line)?,
            letter => letter,
        };
        is_empty = false;
        if letter.is_ascii_alphanumeric() {
            regex.push(letter);
        } else {
            let _ = write!(regex, "\\x{{{:X}}}", u32::from(letter));
        }
    }
    Err(format!("line {line}: [ without ]"))
}

fn escape(letters: &mut Letters<'_>, line: usize) -> Result<char, String> {
    let wrong = |what: &str| format!("line {line}: \\{what} is not an escape of GBNF");
    let Some(kind) = letters.next() else { return Err(wrong("")) };
    let digits = match kind {
        'n' => return Ok('\n'),
        't' => return Ok('\t'),
        'r' => return Ok('\r'),
        '"' | '\\' | '[' | ']' | '-' | '^' | '/' => return Ok(kind),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        other => return Err(wrong(&other.to_string())),
    };
    let code: String = letters.by_ref().take(digits).collect();
    u32::from_str_radix(&code, 16)
        .ok()
        .filter(|_| code.len() == digits)
        .and_then(char::from_u32)
        .ok_or_else(|| wrong(&format!("{kind}{code}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_classes_and_repetitions_are_the_same_in_lark() {
        let gbnf = r#"
            # a list of names
            root ::= "[" ws (name ("," ws name)*)? "]"
            name ::= "\"" [^"\\\x00-\x1F]{1,8} "\"" |
                     first-name
            first-name ::= "Ann" | "Bob\n"
            ws ::= [ \t]*
        "#;
        let lark = gbnf_to_lark(gbnf).expect("GBNF");
        let lines: Vec<&str> = lark.lines().collect();
        assert_eq!(lines[0], r#"start: "[" r_ws ( r_name ( "," r_ws r_name ) * ) ? "]""#);
        let class = r#"/[^\x{22}\x{5C}\x{0}-\x{1F}]/"#;
        assert_eq!(lines[1], format!(r#"r_name: "\"" {class} {{1,8}} "\"" | r_first_name"#));
        assert_eq!(lines[2], r#"r_first_name: "Ann" | "Bob\n""#);
        assert_eq!(lines[3], r#"r_ws: /[\x{20}\x{9}]/ *"#);
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (gbnf, part) in [
            ("", "root"),
            ("x ::= \"a\"", "root"),
            ("root ::= y", "line 1: there is no rule \"y\""),
            ("root ::= \"a\"\n\"b", "line 2: \" without an end"),
            ("root ::= (\"a\"", "( without )"),
            ("root ::= \"a\")", ") without ("),
            ("root ::= [a", "[ without ]"),
            ("root ::= []", "matches no character"),
            ("root ::= \"\\q\"", "\\q is not an escape"),
            ("root ::= \"\\x4\"", "not an escape"),
            ("root ::= \"a\"\nroot ::= \"b\"", "twice"),
            ("root : \"a\"", "expected ::="),
            ("root ::= ä", "'ä'"),
            ("root", "expected ::="),
            ("::= \"a\"", "expected a rule"),
        ] {
            let error = gbnf_to_lark(gbnf).expect_err(gbnf);
            assert!(error.contains(part), "{gbnf:?}: {error}");
        }
    }
}
