//! Numbers as people read them.

use std::time::Duration;

/// Bytes in decimal units, three digits: `98.4 MB`, `1.12 GB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = 0;
    // 999.5 would be rounded to 1000.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A length of time to the second above one second, to the millisecond below: `350 ms`, `42 s`, `3
/// min 5 s`, `2 h 10 min`.
#[must_use]
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        _ if time < Duration::from_secs(1) => format!("{} ms", time.as_millis()),
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits_and_decimal_units() {
        let shown: Vec<String> = [0, 999, 1_000, 9_999, 98_362_432, 999_600_000, 1_117_320_768]
            .into_iter()
            .map(bytes)
            .collect();
        assert_eq!(shown, ["0 B", "999 B", "1.00 kB", "10.0 kB", "98.4 MB", "1.00 GB", "1.12 GB"]);
    }

    #[test]
    fn durations_choose_their_unit() {
        let shown: Vec<String> = [350, 42_000, 185_000, 7_800_000]
            .into_iter()
            .map(|ms| duration(Duration::from_millis(ms)))
            .collect();
        assert_eq!(shown, ["350 ms", "42 s", "3 min 5 s", "2 h 10 min"]);
    }
}
