//! Strings that know which of their bytes came from the conversation.

use std::{ops::Range, sync::Arc};

use super::{
    Failure,
    meter::{Charge, Meter},
};

/// An immutable string. `data` marks the bytes that are the conversation's, not the template's.
#[derive(Clone, Debug)]
pub(super) struct Text(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    /// In order, apart from each other, none empty.
    data: Vec<Range<usize>>,
    /// None for constants of the template.
    _charge: Option<Charge>,
}

impl Text {
    /// A string of the template itself; it counts to no rendering.
    pub(super) fn constant(text: impl Into<String>) -> Self {
        Self(Arc::new(Inner { text: text.into(), data: Vec::new(), _charge: None }))
    }

    pub(super) fn new(text: &str, meter: &Arc<Meter>) -> Result<Self, Failure> {
        let mut built = Builder::new(meter)?;
        built.push(text, false)?;
        Ok(built.finish())
    }

    /// A string of the conversation.
    pub(super) fn data(text: &str, meter: &Arc<Meter>) -> Result<Self, Failure> {
        let mut built = Builder::new(meter)?;
        built.push(text, true)?;
        Ok(built.finish())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Number of characters.
    pub(super) fn chars(&self, meter: &Meter) -> Result<usize, Failure> {
        meter.work(self.as_str().len())?;
        Ok(self.as_str().chars().count())
    }

    /// The bytes from the conversation.
    pub(super) fn marks(&self) -> &[Range<usize>] {
        &self.0.data
    }

    pub(super) fn has_data(&self) -> bool {
        !self.0.data.is_empty()
    }

    /// The part in a range of bytes.
    pub(super) fn slice(&self, range: Range<usize>, meter: &Arc<Meter>) -> Result<Self, Failure> {
        if range == (0..self.as_str().len()) {
            return Ok(self.clone());
        }
        let mut built = Builder::new(meter)?;
        built.push_slice(self, range)?;
        Ok(built.finish())
    }

    /// The part that `part`, a slice of this string's text, is.
    pub(super) fn part(&self, part: &str, meter: &Arc<Meter>) -> Result<Self, Failure> {
        if part.is_empty() {
            return self.slice(0..0, meter);
        }
        let start = part.as_ptr() as usize - self.as_str().as_ptr() as usize;
        self.slice(start..start + part.len(), meter)
    }

    /// Each character replaced by what `map` makes of it and of its place, marks kept.
    pub(super) fn map_chars<I: IntoIterator<Item = char>>(
        &self,
        meter: &Arc<Meter>,
        mut map: impl FnMut(usize, char) -> I,
    ) -> Result<Self, Failure> {
        let mut built = Builder::new(meter)?;
        let mut marks = self.marks().iter().peekable();
        let mut buffer = [0; 4];
        for (place, (at, character)) in self.as_str().char_indices().enumerate() {
            while marks.peek().is_some_and(|mark| mark.end <= at) {
                marks.next();
            }
            let data = marks.peek().is_some_and(|mark| mark.start <= at);
            for mapped in map(place, character) {
                built.push(mapped.encode_utf8(&mut buffer), data)?;
            }
        }
        Ok(built.finish())
    }
}

/// Writes a string piece by piece, counting its bytes.
pub(super) struct Builder {
    text: String,
    data: Vec<Range<usize>>,
    charge: Charge,
}

/// Bytes that a string takes besides its text.
const OVERHEAD: usize = 96;

impl Builder {
    pub(super) fn new(meter: &Arc<Meter>) -> Result<Self, Failure> {
        meter.steps(1)?;
        Ok(Self { text: String::new(), data: Vec::new(), charge: meter.hold(OVERHEAD)? })
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Adds text; `data` says that it comes from the conversation.
    pub(super) fn push(&mut self, text: &str, data: bool) -> Result<(), Failure> {
        // A growing string has at most twice its length reserved.
        self.charge.grow(2 * text.len())?;
        let start = self.text.len();
        self.text.push_str(text);
        if data {
            self.mark(start..self.text.len())?;
        }
        Ok(())
    }

    pub(super) fn push_text(&mut self, text: &Text) -> Result<(), Failure> {
        self.push_slice(text, 0..text.as_str().len())
    }

    pub(super) fn push_slice(&mut self, text: &Text, range: Range<usize>) -> Result<(), Failure> {
        let start = self.text.len();
        self.push(&text.as_str()[range.clone()], false)?;
        let first = text.marks().partition_point(|mark| mark.end <= range.start);
        for mark in text.marks()[first..].iter().take_while(|mark| mark.start < range.end) {
            let (from, to) = (mark.start.max(range.start), mark.end.min(range.end));
            self.mark(start + from - range.start..start + to - range.start)?;
        }
        Ok(())
    }

    fn mark(&mut self, range: Range<usize>) -> Result<(), Failure> {
        if range.is_empty() {
            return Ok(());
        }
        match self.data.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => {
                self.charge.grow(2 * size_of::<Range<usize>>())?;
                self.data.push(range);
            }
        }
        Ok(())
    }

    /// Marks all of it as the conversation's.
    pub(super) fn mark_all(&mut self) {
        self.data.clear();
        if !self.text.is_empty() {
            self.data.push(0..self.text.len());
        }
    }

    pub(super) fn finish(self) -> Text {
        let Self { text, data, charge } = self;
        Text(Arc::new(Inner { text, data, _charge: Some(charge) }))
    }

    pub(super) fn into_parts(self) -> (String, Vec<Range<usize>>) {
        (self.text, self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_follow_their_bytes() {
        let meter = Meter::new(1000, 10_000);
        let mut built = Builder::new(&meter).unwrap();
        built.push("<a>", false).unwrap();
        built.push("één", true).unwrap();
        built.push("two", true).unwrap();
        built.push("<b>", false).unwrap();
        let text = built.finish();
        assert_eq!(text.marks(), [(3..11)]);
        assert_eq!(text.slice(1..5, &meter).unwrap().marks(), [(2..4)]);
        let upper = text.map_chars(&meter, |_, c| c.to_uppercase()).unwrap();
        assert_eq!((upper.as_str(), upper.marks()), ("<A>ÉÉNTWO<B>", &[3..11][..]));
        let mut twice = Builder::new(&meter).unwrap();
        twice.push_text(&text).unwrap();
        twice.push_text(&text).unwrap();
        assert_eq!(twice.finish().marks(), [3..11, 17..25]);
    }
}
