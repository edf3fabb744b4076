//! Progress of long work on standard error: a bar on a terminal, a plain line every few seconds
//! elsewhere.

#![expect(clippy::disallowed_methods, reason = "measures how long work takes")]

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use speckv_local::{
    report::{self, Unit},
    units,
};

/// Seconds between plain lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A progress display. Silent until its patience is over, so that quick work shows nothing.
#[derive(Debug)]
pub struct Progress {
    label: String,
    unit: Unit,
    style: Style,
    began: Instant,
    patience: Duration,
    start: Option<u64>,
}

#[derive(Debug)]
enum Style {
    Hidden,
    Bar(ProgressBar),
    Lines { last: Option<Instant> },
}

impl Progress {
    /// Shows nothing.
    #[must_use]
    pub fn hidden() -> Self {
        Progress {
            label: String::new(),
            unit: Unit::Items,
            style: Style::Hidden,
            began: Instant::now(),
            patience: Duration::ZERO,
            start: None,
        }
    }

    /// A display that appears after `patience`.
    #[must_use]
    pub fn new(label: &str, unit: Unit, patience: Duration, terminal: bool) -> Self {
        let style = if terminal {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
            bar.set_style(bar_style(unit));
            bar.set_message(label.to_owned());
            Style::Bar(bar)
        } else {
            Style::Lines { last: None }
        };
        Progress {
            label: label.to_owned(),
            unit,
            style,
            began: Instant::now(),
            patience,
            start: None,
        }
    }
}

impl report::Progress for Progress {
    fn at(&mut self, done: u64, total: u64) {
        let start = *self.start.get_or_insert(done);
        let elapsed = self.began.elapsed();
        if elapsed < self.patience {
            return;
        }
        match &mut self.style {
            Style::Hidden => {}
            Style::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
                if bar.is_hidden() {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                    bar.tick();
                    bar.reset_eta();
                }
            }
            Style::Lines { last } => {
                let due = last.map_or(self.patience.is_zero() || elapsed >= self.patience, |at| {
                    at.elapsed() >= LINE_EVERY
                });
                if due && done < total {
                    *last = Some(Instant::now());
                    let line = plain_line(&self.label, self.unit, start, done, total, elapsed);
                    let _ = std::io::Write::write_fmt(
                        &mut std::io::stderr().lock(),
                        format_args!("{line}\n"),
                    );
                }
            }
        }
    }

    fn suspend(&self, body: &mut dyn FnMut()) {
        match &self.style {
            Style::Bar(bar) => bar.suspend(body),
            _ => body(),
        }
    }

    fn finish(&mut self) {
        if let Style::Bar(bar) = &self.style {
            bar.finish_and_clear();
        }
        self.style = Style::Hidden;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        report::Progress::finish(self);
    }
}

fn bar_style(unit: Unit) -> ProgressStyle {
    let template = match unit {
        Unit::Bytes => {
            "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} \
             left"
        }
        Unit::Tokens => "{msg} {wide_bar} {pos}/{len} tokens {eta} left",
        Unit::Items => "{msg} {wide_bar} {pos}/{len} {eta} left",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn plain_line(
    label: &str,
    unit: Unit,
    start: u64,
    done: u64,
    total: u64,
    elapsed: Duration,
) -> String {
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    let rate = done.saturating_sub(start) as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = if rate > 0.0 {
        let seconds = total.saturating_sub(done) as f64 / rate;
        format!(", {} left", units::duration(Duration::from_secs_f64(seconds.min(1e9))))
    } else {
        String::new()
    };
    match unit {
        Unit::Bytes => {
            let (done, total, rate) =
                (units::bytes(done), units::bytes(total), units::bytes(rate as u64));
            format!("{label}: {percent}% ({done} of {total}, {rate}/s{left})")
        }
        Unit::Tokens => format!("{label}: {percent}% ({done} of {total} tokens{left})"),
        Unit::Items => format!("{label}: {done} of {total}{left}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_counts_the_rate_from_where_the_work_began() {
        let line = plain_line(
            "m",
            Unit::Bytes,
            500_000_000,
            600_000_000,
            1_000_000_000,
            Duration::from_secs(10),
        );
        assert_eq!(line, "m: 60% (600 MB of 1.00 GB, 10.0 MB/s, 40 s left)");
        let line = plain_line("m", Unit::Tokens, 100, 150, 200, Duration::from_secs(10));
        assert_eq!(line, "m: 75% (150 of 200 tokens, 10 s left)");
        assert_eq!(
            plain_line("m", Unit::Items, 0, 1, 4, Duration::from_secs(20)),
            "m: 1 of 4, 1 min 0 s left"
        );
        assert_eq!(plain_line("m", Unit::Items, 0, 0, 4, Duration::from_secs(20)), "m: 0 of 4");
    }
}
