//! Finding a tag in text that comes in pieces.

/// What a text is, as far as it has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The tag begins here.
    At(usize),
    /// From here on the text may be the beginning of the tag.
    Perhaps(usize),
    /// The tag is not in it.
    Nowhere,
}

/// Where `tag` is in `text`.
pub(super) fn find(text: &str, tag: &str) -> Found {
    if let Some(at) = text.find(tag) {
        return Found::At(at);
    }
    let starts = text.char_indices().map(|(at, _)| at);
    let tail = starts.skip_while(|at| text.len() - at >= tag.len());
    let mut tail = tail.filter(|&at| tag.starts_with(&text[at..]));
    tail.next().map_or(Found::Nowhere, Found::Perhaps)
}

/// Where the white space at the end of `text` begins.
pub(super) fn without_space(text: &str) -> usize {
    text.trim_end().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_whole_or_as_a_beginning() {
        assert_eq!(find("ab<think>c", "<think>"), Found::At(2));
        assert_eq!(find("ä<thi", "<think>"), Found::Perhaps(2));
        assert_eq!(find("a < b", "<think>"), Found::Nowhere);
        assert_eq!(find("<<", "<think>"), Found::Perhaps(1));
        assert_eq!(find("", "<think>"), Found::Nowhere);
    }
}
