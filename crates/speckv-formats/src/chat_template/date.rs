//! `strftime_now`: some templates tell the model today's date.

use std::time::SystemTime;

use jiff::{
    Timestamp, Zoned,
    fmt::strtime::{BrokenDownTime, Config, PosixCustom},
    tz::TimeZone,
};

/// Directives of Python's `strftime` on Linux, in the C locale.
const DIRECTIVES: &str = "aAbBcCdDeFfgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%";

/// A moment in the local time of this machine (`TZ`, else the system's zone), in the terms of
/// Python's `strftime`. A directive that is not known stays as it is, as with Python on Linux.
pub(super) fn format(moment: SystemTime, format: &str) -> String {
    in_zone(moment, format, TimeZone::system())
}

fn in_zone(moment: SystemTime, format: &str, zone: TimeZone) -> String {
    let moment = Timestamp::try_from(moment).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = BrokenDownTime::from(&Zoned::new(moment, zone));
    let config = Config::new().lenient(true).custom(PosixCustom::new());
    let mut text = String::new();
    let written = time.format_with_config(&config, known(format), &mut text);
    // A lenient format fails at a `%` at its end only, which C keeps.
    match written {
        Ok(()) => text,
        Err(_) => format.to_owned(),
    }
}

/// The format in the library's terms: it has directives that Python does not have, and writes
/// fractions of seconds shorter.
fn known(format: &str) -> String {
    let mut text = String::with_capacity(format.len());
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let letter = after.trim_start_matches(|it| "-_0^#123456789".contains(it));
        let options = &after[..after.len() - letter.len()];
        // These ask for another calendar or other digits, of which the C locale has none.
        let letter = letter.strip_prefix(['E', 'O']).filter(|it| is_known(it)).unwrap_or(letter);
        rest = letter;
        if !is_known(letter) {
            text.push_str("%%");
            text.push_str(options);
        } else if letter.starts_with('f') && options.is_empty() {
            text.push_str("%6");
        } else {
            text.push('%');
            text.push_str(options);
        }
        // The letter itself, so that the second of two percent signs begins nothing.
        let width = letter.chars().next().map_or(0, char::len_utf8);
        text.push_str(&letter[..width]);
        rest = &rest[width..];
    }
    text + rest
}

fn is_known(letter: &str) -> bool {
    letter.chars().next().is_some_and(|letter| DIRECTIVES.contains(letter))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64, form: &str, zone: &str) -> String {
        let zone = TimeZone::posix(zone).expect("a zone");
        in_zone(UNIX_EPOCH + Duration::from_secs(seconds), form, zone)
    }

    #[test]
    fn dates_are_those_of_gnu_date() {
        // `date -u -d @N '+%Y-%m-%d %H:%M:%S %A %j'`
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 Thursday 001"),
            (951_782_399, "2000-02-28 23:59:59 Monday 059"),
            (951_782_400, "2000-02-29 00:00:00 Tuesday 060"),
            (1_735_689_599, "2024-12-31 23:59:59 Tuesday 366"),
            (4_107_542_400, "2100-03-01 00:00:00 Monday 060"),
        ] {
            assert_eq!(at(seconds, "%Y-%m-%d %H:%M:%S %A %j", "UTC0"), expected);
            assert_eq!(at(seconds, "%F %T", "UTC0"), expected[..19]);
        }
        let moment = 1_722_470_400 + 13 * 3600;
        assert_eq!(
            at(moment, "%-d %b %y, %I %p, %e %a %% %B %-m %U %u", "UTC0"),
            "1 Aug 24, 01 PM,  1 Thu % August 8 30 4"
        );
    }

    /// `datetime.fromtimestamp(1722517262, timezone.utc).strftime("%" + form)` of Python 3.11.
    #[test]
    fn directives_are_those_of_python() {
        for (form, expected) in [
            ("a", "Thu"),
            ("A", "Thursday"),
            ("b", "Aug"),
            ("B", "August"),
            ("C", "20"),
            ("c", "Thu Aug  1 13:01:02 2024"),
            ("d", "01"),
            ("D", "08/01/24"),
            ("e", " 1"),
            ("F", "2024-08-01"),
            ("f", "000000"),
            ("g", "24"),
            ("G", "2024"),
            ("h", "Aug"),
            ("H", "13"),
            ("I", "01"),
            ("j", "214"),
            ("k", "13"),
            ("l", " 1"),
            ("m", "08"),
            ("M", "01"),
            ("n", "\n"),
            ("p", "PM"),
            ("P", "pm"),
            ("r", "01:01:02 PM"),
            ("R", "13:01"),
            ("s", "1722517262"),
            ("S", "02"),
            ("T", "13:01:02"),
            ("t", "\t"),
            ("u", "4"),
            ("U", "30"),
            ("V", "31"),
            ("w", "4"),
            ("W", "31"),
            ("x", "08/01/24"),
            ("X", "13:01:02"),
            ("y", "24"),
            ("Y", "2024"),
            ("z", "+0000"),
            ("Z", "UTC"),
            ("%", "%"),
            ("+", "%+"),
            ("E", "%E"),
            ("q", "%q"),
            ("Q", "%Q"),
            ("v", "%v"),
            ("L", "%L"),
            ("N", "%N"),
            ("-d", "1"),
            ("-m", "8"),
            ("-I", "1"),
            ("-M", "1"),
            ("-j", "214"),
            ("_d", " 1"),
            ("_H", "13"),
            ("^a", "THU"),
            ("^B", "AUGUST"),
            ("03d", "001"),
            ("Ey", "24"),
            ("Od", "01"),
            ("", "%"),
            ("%d", "%d"),
            ("é", "%é"),
        ] {
            assert_eq!(at(1_722_517_262, &format!("%{form}"), "UTC0"), expected, "%{form}");
        }
    }

    #[test]
    fn the_zone_moves_the_clock_and_unknown_directives_stay() {
        // `TZ=AAA-9 date -d @1735689599 '+%F %H %Z'`
        assert_eq!(at(1_735_689_599, "%F %H %Z", "AAA-9"), "2025-01-01 08 AAA");
        assert_eq!(at(1_735_689_599, "%F %H", "BBB+8"), "2024-12-31 15");
        assert_eq!(at(0, "%! %Y", "UTC0"), "%! 1970");
        assert_eq!(at(0, "100%", "UTC0"), "100%");
    }
}
