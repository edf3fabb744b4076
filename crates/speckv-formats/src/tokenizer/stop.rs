/// Ends streamed text at the first stop string, which is not passed on.
///
/// Text that could be the beginning of a stop string is held back until it is clear. The stop
/// string that is complete first wins; of several complete at the same character, the longest. So
/// it does not matter how the text is split over calls.
#[derive(Clone, Debug)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
    stopped: Option<usize>,
}

/// What [`StopStrings`] lets pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Text that is certain not to belong to a stop string.
    pub text: String,
    /// Whether a stop string was found; nothing passes any more.
    pub stopped: bool,
}

impl StopStrings {
    /// Watches for these strings; empty ones stop nothing.
    pub fn new<S: Into<String>>(stops: impl IntoIterator<Item = S>) -> Self {
        let stops =
            stops.into_iter().map(Into::into).filter(|stop: &String| !stop.is_empty()).collect();
        Self { stops, held: String::new(), stopped: None }
    }

    /// Takes the next piece of text and gives what may pass now.
    pub fn push(&mut self, text: &str) -> Passed {
        if self.stopped.is_some() {
            return Passed { text: String::new(), stopped: true };
        }
        self.held.push_str(text);
        let found = self.stops.iter().enumerate().filter_map(|(index, stop)| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start, index))
        });
        if let Some((_, start, index)) = found.min() {
            self.stopped = Some(index);
            let mut text = std::mem::take(&mut self.held);
            text.truncate(start);
            return Passed { text, stopped: true };
        }
        let rest = self.held.split_off(self.certain());
        Passed { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// Ends the text: what was held back, since it became no stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The stop string that was found.
    pub fn found(&self) -> Option<&str> {
        self.stopped.map(|index| self.stops[index].as_str())
    }

    /// Bytes of `held` before the longest end that is the beginning of a stop string.
    fn certain(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest.saturating_sub(1));
        (from..self.held.len())
            .find(|&at| {
                self.held.is_char_boundary(at)
                    && self.stops.iter().any(|stop| stop.starts_with(&self.held[at..]))
            })
            .unwrap_or(self.held.len())
    }
}
