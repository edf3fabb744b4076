//! `strftime_now`: some templates tell the model today's date.

use std::{
    fmt::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use minijinja::{Error, ErrorKind};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// A moment in UTC in the terms of C's `strftime`: `%Y %y %m %B %b %d %e %j %A %a %H %I %M %S %p %F
/// %T %%`, and `%-d` for a number without leading zeros.
///
/// # Errors
/// Another directive.
pub(super) fn format(moment: SystemTime, format: &str) -> Result<String, Error> {
    let seconds = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86400, seconds % 86400);
    let (year, month, day, day_of_year) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let (month_name, day_name) = (MONTHS[month as usize - 1], DAYS[(days % 7) as usize]);
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let mut directive = characters.next();
        let padded = directive != Some('-');
        if !padded {
            directive = characters.next();
        }
        let mut number = |value: u64, width: usize| {
            let width = if padded { width } else { 0 };
            let _ = write!(text, "{value:0width$}");
        };
        match directive {
            Some('Y') => number(year, 4),
            Some('y') => number(year % 100, 2),
            Some('m') => number(month, 2),
            Some('d') => number(day, 2),
            Some('j') => number(day_of_year, 3),
            Some('H') => number(hour, 2),
            Some('I') => number((hour + 11) % 12 + 1, 2),
            Some('M') => number(minute, 2),
            Some('S') => number(second, 2),
            Some('e') => text.push_str(&format!("{day:>2}")),
            Some('B') => text.push_str(month_name),
            Some('b') => text.push_str(&month_name[..3]),
            Some('A') => text.push_str(day_name),
            Some('a') => text.push_str(&day_name[..3]),
            Some('p') => text.push_str(if hour < 12 { "AM" } else { "PM" }),
            Some('F') => text.push_str(&format!("{year:04}-{month:02}-{day:02}")),
            Some('T') => text.push_str(&format!("{hour:02}:{minute:02}:{second:02}")),
            Some('%') => text.push('%'),
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("strftime_now does not know %{other}"),
                ));
            }
        }
    }
    Ok(text)
}

/// Year, month (1-12), day (1-31) and day of the year (1-366) of a day after 1 January 1970, in the
/// Gregorian calendar.
fn civil(mut days: u64) -> (u64, u64, u64, u64) {
    // Whole cycles of 400 years first, so that the loop is short for any date.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let day_of_year = days + 1;
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1, day_of_year)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
            let moment = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(format(moment, "%Y-%m-%d %H:%M:%S %A %j").unwrap(), expected);
            assert_eq!(format(moment, "%F %T").unwrap(), expected[..19]);
        }
        let moment = UNIX_EPOCH + Duration::from_secs(1_722_470_400 + 13 * 3600);
        assert_eq!(
            format(moment, "%-d %b %y, %I %p, %e %a %%").unwrap(),
            "1 Aug 24, 01 PM,  1 Thu %"
        );
        assert!(format(moment, "%Q").is_err() && format(moment, "%").is_err());
    }
}
