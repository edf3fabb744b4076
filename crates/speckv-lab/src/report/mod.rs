//! Recordings and measurements as figures, and the figures as one HTML file without external parts.
//!
//! [`inputs`] is what is drawn · [`svg`] and [`plot`] draw · [`figures`] has one file per figure ·
//! [`origins`] checks that the parts belong together · [`findings`] puts the numbers into words,
//! with intervals · [`page`] puts it together. Everything is a function of its inputs: the same
//! inputs give the same bytes.

pub mod figures;
pub mod findings;
pub mod inputs;
pub mod origins;
pub mod page;
pub mod plot;
pub mod style;
pub mod svg;

pub use inputs::Inputs;

/// One drawing of a figure, as wide as a phone; figures set several side by side where there is
/// room.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What it is about; nothing for a figure of one panel.
    pub title: String,
    /// Height in its own units; the width is [`svg::WIDTH`].
    pub height: f64,
    /// Elements of SVG.
    pub body: String,
}

/// What a figure shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Drawings.
    Panels(Vec<Panel>),
    /// Ready HTML, for what is text.
    Html(String),
}

/// A figure with its words.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Name of its file.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What to see, and what to know about it.
    pub caption: String,
    /// What is shown.
    pub content: Content,
}

/// A figure that cannot be drawn, and how its data is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Missing {
    /// Its heading.
    pub title: &'static str,
    /// The command that makes its data.
    pub command: &'static str,
}
