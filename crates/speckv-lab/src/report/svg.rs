//! Elements of SVG. Looks are classes, so that a page's light and dark apply; see [`super::style`].

use std::fmt::Write;

use super::Panel;

/// Width of every panel, in its own units.
pub const WIDTH: f64 = 360.0;

/// Where a text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At the point.
    Start,
    /// Around it.
    Middle,
    /// It ends there.
    End,
}

/// Text with what HTML and SVG would misread replaced.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // XML has no way to write these.
            c if c.is_control() && !matches!(c, '\n' | '\t') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A coordinate without noise in its digits.
fn c(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Elements in the order in which they are painted.
#[derive(Debug, Clone, Default)]
pub struct Canvas {
    body: String,
}

impl Canvas {
    /// A straight line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let _ = write!(
            self.body,
            r#"<line class="{class}" x1="{}" y1="{}" x2="{}" y2="{}"/>"#,
            c(from.0),
            c(from.1),
            c(to.0),
            c(to.1)
        );
    }

    /// Straight lines from point to point.
    pub fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> =
            points.iter().map(|point| format!("{},{}", c(point.0), c(point.1))).collect();
        let _ = write!(self.body, r#"<polyline class="{class}" points="{}"/>"#, points.join(" "));
    }

    /// A filled area.
    pub fn polygon(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> =
            points.iter().map(|point| format!("{},{}", c(point.0), c(point.1))).collect();
        let _ = write!(self.body, r#"<polygon class="{class}" points="{}"/>"#, points.join(" "));
    }

    /// A rectangle with a corner, a size, an opacity, and words for those who point at it.
    pub fn rect(
        &mut self,
        class: &str,
        at: (f64, f64),
        size: (f64, f64),
        opacity: f64,
        words: &str,
    ) {
        let _ = write!(
            self.body,
            r#"<rect class="{class}" x="{}" y="{}" width="{}" height="{}" fill-opacity="{}"><title>{}</title></rect>"#,
            c(at.0),
            c(at.1),
            c(size.0.max(0.0)),
            c(size.1.max(0.0)),
            c(opacity),
            escaped(words)
        );
    }

    /// Text on a baseline.
    pub fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(
            self.body,
            r#"<text class="{class}" x="{}" y="{}" text-anchor="{anchor}">{}</text>"#,
            c(at.0),
            c(at.1),
            escaped(text)
        );
    }

    /// Text that reads upwards.
    pub fn upright(&mut self, class: &str, at: (f64, f64), text: &str) {
        let _ = write!(
            self.body,
            r#"<text class="{class}" transform="translate({} {}) rotate(-90)" text-anchor="middle">{}</text>"#,
            c(at.0),
            c(at.1),
            escaped(text)
        );
    }

    /// The mark of a series: each has its own shape, so that colour is not needed to tell them
    /// apart.
    pub fn mark(&mut self, series: usize, at: (f64, f64), words: &str) {
        let (x, y) = (c(at.0), c(at.1));
        let class = format!("m s{}", series % SERIES);
        let title = escaped(words);
        let path = match series % SERIES {
            0 => format!(
                r#"<circle class="{class}" cx="{x}" cy="{y}" r="4"><title>{title}</title></circle>"#
            ),
            1 => format!(
                r#"<rect class="{class}" x="{}" y="{}" width="7" height="7"><title>{title}</title></rect>"#,
                c(x - 3.5),
                c(y - 3.5)
            ),
            other => {
                let corners: &[(f64, f64)] = match other {
                    2 => &[(0.0, -4.8), (4.5, 3.4), (-4.5, 3.4)],
                    3 => &[(0.0, -5.0), (5.0, 0.0), (0.0, 5.0), (-5.0, 0.0)],
                    4 => &[(0.0, 4.8), (4.5, -3.4), (-4.5, -3.4)],
                    _ => &[(-4.2, -1.5), (4.2, -1.5), (4.2, 1.5), (-4.2, 1.5)],
                };
                let points: Vec<String> =
                    corners.iter().map(|(dx, dy)| format!("{},{}", c(x + dx), c(y + dy))).collect();
                format!(
                    r#"<polygon class="{class}" points="{}"><title>{title}</title></polygon>"#,
                    points.join(" ")
                )
            }
        };
        self.body.push_str(&path);
    }

    /// Makes it a panel.
    #[must_use]
    pub fn panel(self, title: impl Into<String>, height: f64) -> Panel {
        Panel { title: title.into(), height, body: self.body }
    }
}

/// Series that look different; more repeat them.
pub const SERIES: usize = 6;

impl Panel {
    /// The panel as an element of a page.
    #[must_use]
    pub fn inline(&self, label: &str) -> String {
        format!(
            r#"<svg viewBox="0 0 {WIDTH} {}" role="img" aria-label="{}">{}</svg>"#,
            self.height,
            escaped(label),
            self.body
        )
    }
}

/// Panels as a file of their own, three to a row.
#[must_use]
pub fn document(title: &str, panels: &[Panel]) -> String {
    const HEAD: f64 = 30.0;
    let columns = panels.len().clamp(1, 3);
    let (mut body, mut top, mut height) = (String::new(), HEAD, HEAD);
    for (at, panel) in panels.iter().enumerate() {
        let column = at % columns;
        if column == 0 {
            top = height;
        }
        let left = column as f64 * (WIDTH + 16.0) + 8.0;
        let _ = write!(
            body,
            r#"<text class="head" x="{left}" y="{}">{}</text><svg x="{left}" y="{}" width="{WIDTH}" height="{}" viewBox="0 0 {WIDTH} {}">{}</svg>"#,
            top + 14.0,
            escaped(&panel.title),
            top + 22.0,
            panel.height,
            panel.height,
            panel.body
        );
        height = height.max(top + 30.0 + panel.height);
    }
    let width = columns as f64 * (WIDTH + 16.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\"><style>{}{}</style><rect class=\"paper\" \
         width=\"100%\" height=\"100%\"/><text class=\"title\" x=\"8\" \
         y=\"22\">{}</text>{body}</svg>\n",
        super::style::COLOURS,
        super::style::DRAWING,
        escaped(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text() {
        assert_eq!(escaped("<b> & \"q\"\u{0}"), "&lt;b&gt; &amp; &quot;q&quot;\u{fffd}");
        let mut canvas = Canvas::default();
        canvas.text("t", (1.0, 2.0), Anchor::Start, "</svg><script>");
        canvas.mark(3, (1.0, 1.0), "<x>");
        let panel = canvas.panel("a<b", 10.0);
        assert!(
            !panel.inline("x\"y").contains("<script>")
                && !document("<t>", &[panel]).contains("a<b")
        );
    }
}
