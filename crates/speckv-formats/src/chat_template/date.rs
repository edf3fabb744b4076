//! `strftime_now`: some templates tell the model today's date.

use std::time::SystemTime;

use jiff::{
    Timestamp, Zoned,
    fmt::strtime::{BrokenDownTime, Config},
    tz::TimeZone,
};

/// A moment in the local time of this machine (`TZ`, else the system's zone), in the terms of C's
/// `strftime`. A directive that is not known stays as it is, as with Python on Linux.
pub(super) fn format(moment: SystemTime, format: &str) -> String {
    in_zone(moment, format, TimeZone::system())
}

fn in_zone(moment: SystemTime, format: &str, zone: TimeZone) -> String {
    let moment = Timestamp::try_from(moment).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = BrokenDownTime::from(&Zoned::new(moment, zone));
    let mut text = String::new();
    let written = time.format_with_config(&Config::new().lenient(true), format, &mut text);
    // A lenient format fails at a `%` at its end only, which C keeps.
    match written {
        Ok(()) => text,
        Err(_) => format.to_owned(),
    }
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

    #[test]
    fn the_zone_moves_the_clock_and_unknown_directives_stay() {
        // `TZ=AAA-9 date -d @1735689599 '+%F %H %Z'`
        assert_eq!(at(1_735_689_599, "%F %H %Z", "AAA-9"), "2025-01-01 08 AAA");
        assert_eq!(at(1_735_689_599, "%F %H", "BBB+8"), "2024-12-31 15");
        assert_eq!(at(0, "%! %Y", "UTC0"), "%! 1970");
        assert_eq!(at(0, "100%", "UTC0"), "100%");
    }
}
