//! Streamed Markdown on a terminal: words are wrapped, emphasis and code are styled.
//!
//! Text comes in pieces of any length, so only what is needed to decide is held back: a word up to
//! its end, and marks of emphasis. Code between fences is neither wrapped nor interpreted.

/// Starts and ends of styles as ANSI sequences.
const BOLD: [&str; 2] = ["\x1b[1m", "\x1b[22m"];
const CODE: [&str; 2] = ["\x1b[36m", "\x1b[39m"];

/// Renders one answer.
#[derive(Debug)]
pub struct TerminalText {
    width: usize,
    styled: bool,
    column: usize,
    /// Characters of the line's indentation, for wrapped lines of a list.
    indent: usize,
    /// The line so far, as it came.
    line: String,
    word: String,
    fenced: bool,
    bold: bool,
    code: bool,
    heading: bool,
}

impl TerminalText {
    /// For a terminal of `width` columns; without `styled`, text is wrapped only.
    #[must_use]
    pub fn new(width: usize, styled: bool) -> Self {
        TerminalText {
            width: width.max(20),
            styled,
            column: 0,
            indent: 0,
            line: String::new(),
            word: String::new(),
            fenced: false,
            bold: false,
            code: false,
            heading: false,
        }
    }

    /// What to write for the answer's next piece.
    pub fn push(&mut self, text: &str) -> String {
        let mut out = String::new();
        for character in text.chars() {
            match character {
                '\n' => self.end_line(&mut out),
                ' ' | '\t' => {
                    self.end_word(&mut out);
                    self.line.push(character);
                    // A space at the edge is replaced by the line's end.
                    if self.fenced || self.column < self.width {
                        out.push(character);
                        self.column += 1;
                    }
                }
                other => {
                    self.line.push(other);
                    self.word.push(other);
                }
            }
        }
        out
    }

    /// What is left at the end of the answer.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        self.end_word(&mut out);
        self.end_styles(&mut out);
        if self.fenced {
            out.push_str(self.style(CODE[1]));
        }
        out
    }

    fn end_line(&mut self, out: &mut String) {
        self.end_word(out);
        if !self.fenced {
            self.end_styles(out);
        }
        out.push('\n');
        (self.column, self.indent) = (0, 0);
        self.line.clear();
    }

    fn end_styles(&mut self, out: &mut String) {
        if self.bold || self.heading {
            out.push_str(self.style(BOLD[1]));
        }
        if self.code {
            out.push_str(self.style(CODE[1]));
        }
        (self.bold, self.code, self.heading) = (false, false, false);
    }

    fn end_word(&mut self, out: &mut String) {
        if self.word.is_empty() {
            return;
        }
        let word = std::mem::take(&mut self.word);
        let first = self.line.trim_start() == word;
        if first && word.starts_with("```") {
            self.fenced = !self.fenced;
            out.push_str(self.style(CODE[usize::from(!self.fenced)]));
            out.push_str(&word);
            self.column += word.chars().count();
            return;
        }
        if self.fenced {
            out.push_str(&word);
            self.column += word.chars().count();
            return;
        }
        if first && word.len() <= 6 && word.bytes().all(|byte| byte == b'#') {
            self.heading = true;
            out.push_str(self.style(BOLD[0]));
        }
        if first && (word == "-" || word == "*" || word.ends_with('.') && is_number(&word)) {
            self.indent = self.column + word.chars().count() + 1;
        }
        let (shown, width) = self.styled_word(&word);
        if self.column > self.indent && self.column + width > self.width {
            while out.ends_with(' ') {
                out.pop();
            }
            out.push('\n');
            out.push_str(&" ".repeat(self.indent));
            self.column = self.indent;
        }
        out.push_str(&shown);
        self.column += width;
    }

    /// A word with its marks as styles, and its width.
    fn styled_word(&mut self, word: &str) -> (String, usize) {
        if !self.styled {
            return (word.to_owned(), word.chars().count());
        }
        let (mut shown, mut width) = (String::new(), 0);
        let mut rest = word;
        while let Some(character) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("**")
                && !self.code
                && (self.bold || !after.is_empty())
            {
                self.bold = !self.bold;
                shown.push_str(BOLD[usize::from(!self.bold)]);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('`') {
                self.code = !self.code;
                shown.push_str(CODE[usize::from(!self.code)]);
                rest = after;
            } else {
                shown.push(character);
                width += 1;
                rest = &rest[character.len_utf8()..];
            }
        }
        (shown, width)
    }

    fn style(&self, code: &'static str) -> &'static str {
        if self.styled { code } else { "" }
    }
}

/// Whether a word is a number and a full stop, as before the items of a list.
fn is_number(word: &str) -> bool {
    let digits = word.trim_end_matches('.');
    !digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same text in one piece and character by character.
    fn rendered(text: &str, width: usize, styled: bool) -> String {
        let mut whole = TerminalText::new(width, styled);
        let once = whole.push(text) + &whole.finish();
        let mut pieces = TerminalText::new(width, styled);
        let mut slowly: String =
            text.chars().map(|c| pieces.push(c.encode_utf8(&mut [0; 4]))).collect();
        slowly.push_str(&pieces.finish());
        let tidy = |text: &str| text.replace(" \n", "\n");
        assert_eq!(tidy(&once), tidy(&slowly), "pieces make no difference");
        tidy(&once)
    }

    #[test]
    fn words_are_wrapped_and_lists_keep_their_indentation() {
        let text = "one two three four five six seven\n- eight nine ten eleven twelve";
        assert_eq!(
            rendered(text, 20, false),
            "one two three four\nfive six seven\n- eight nine ten\n  eleven twelve"
        );
        let long = "x".repeat(30);
        assert_eq!(rendered(&long, 20, false), long, "a word is never broken");
    }

    #[test]
    fn emphasis_and_code_are_styled() {
        assert_eq!(
            rendered("a **bold word** and `x + y`.", 60, true),
            "a \x1b[1mbold word\x1b[22m and \x1b[36mx + y\x1b[39m."
        );
        assert_eq!(rendered("# Title\ntext", 60, true), "\x1b[1m# Title\x1b[22m\ntext");
        assert_eq!(rendered("2 ** 3", 60, true), "2 ** 3", "a mark alone is text");
    }

    #[test]
    fn fenced_code_is_neither_wrapped_nor_interpreted() {
        let text = "```rust\nlet a = **b * c_d_e_f_g_h_i_j_k; // a long line\n```\nend";
        let shown = rendered(text, 20, true);
        assert!(shown.contains("let a = **b * c_d_e_f_g_h_i_j_k; // a long line\n"), "{shown:?}");
        assert!(shown.ends_with("```\nend"), "{shown:?}");
        assert_eq!(shown.matches(CODE[0]).count(), shown.matches(CODE[1]).count());
    }

    #[test]
    fn without_styles_the_text_stays_as_it_is() {
        let text = "**a** `b`\n\n  indented\n";
        assert_eq!(rendered(text, 80, false), text);
    }

    #[test]
    fn an_answer_that_is_cut_leaves_no_style_behind() {
        for text in ["**cut", "`cut", "```\ncut", "# cut"] {
            let shown = rendered(text, 80, true);
            let (on, off) = (shown.matches("\x1b[1m").count(), shown.matches("\x1b[22m").count());
            assert_eq!(on, off, "{shown:?}");
            let (on, off) = (shown.matches("\x1b[36m").count(), shown.matches("\x1b[39m").count());
            assert_eq!(on, off, "{shown:?}");
        }
    }
}
