//! Times by a cron expression: the standard five fields (minute, hour, day of
//! month, month, day of week), in UTC. The crate `cron` looks for the next
//! time; its own language is another one, so the fields are read here and
//! handed over as plain lists:
//!
//! - the crate wants seconds first, and takes six or seven fields;
//! - its Sunday is 1, cron's is 0 and 7;
//! - it wants both days to fit where cron, when neither begins with `*`, takes
//!   either: those are two schedules, and the earlier time counts.
use std::{collections::BTreeSet, fmt, str::FromStr as _};

use chrono::{DateTime, Datelike as _, TimeDelta, Utc, Weekday};

use super::Error;

const BYTES_MAX: usize = 200;
const MONTHS: &[&str] = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One of the five fields.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// What stands for `min` and the numbers after it.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field::new("minute", 0, 59, &[]),
    Field::new("hour", 0, 23, &[]),
    Field::new("day of month", 1, 31, &[]),
    Field::new("month", 1, 12, MONTHS),
    Field::new("day of week", 0, 7, WEEKDAYS),
];

/// When backups are made.
#[derive(Clone)]
pub struct Schedule {
    text: String,
    /// A time fits when one of them says so.
    any_of: Vec<cron::Schedule>,
}

impl Schedule {
    /// Fails with [`Error::BadSchedule`], which names the field.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|detail| Error::BadSchedule { detail })
    }

    /// The first time after that one; `None` when there is none in this century.
    pub fn next_after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let nexts = self.any_of.iter().filter_map(|it| it.after(&time).next());
        nexts.min()
    }

    /// The time that comes after `last`, moved by `spread` of the window, which
    /// ends where the following time begins. `spread` is from 0 to 1.
    pub(super) fn turn_after(
        &self,
        last: DateTime<Utc>,
        window: TimeDelta,
        spread: f64,
    ) -> Option<DateTime<Utc>> {
        let at = self.next_after(last)?;
        let gap = self.next_after(at).map_or(window, |it| it - at);
        let seconds = window.min(gap).num_seconds() as f64 * spread;
        Some(at + TimeDelta::seconds(seconds as i64))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({})", self.text)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn parse(text: &str) -> Result<Schedule, String> {
    if BYTES_MAX < text.len() {
        return Err(format!(
            "A schedule is at most {BYTES_MAX} characters long."
        ));
    }
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let Ok([minute, hour, day, month, weekday]) = <[&str; 5]>::try_from(parts) else {
        return Err(
            "A schedule has five fields: minute, hour, day of month, month, day of week, such as `0 2 * * *`."
                .to_owned(),
        );
    };
    let [minutes, hours, days, months, weekdays] = {
        let mut sets = FIELDS.iter().zip([minute, hour, day, month, weekday]);
        let mut next = || {
            sets.next()
                .map_or(Ok(BTreeSet::new()), |(f, it)| f.read(it))
        };
        [next()?, next()?, next()?, next()?, next()?]
    };
    // Cron's 0 and 7 are both Sunday, the crate's 1.
    let weekdays: BTreeSet<u32> = weekdays.iter().map(|it| it % 7 + 1).collect();
    let either = !day.starts_with('*') && !weekday.starts_with('*');
    let time = format!("0 {} {}", list(&minutes), list(&hours));
    let (days, months, weekdays) = (list(&days), list(&months), list(&weekdays));
    let expressions = match either {
        true => vec![
            format!("{time} {days} {months} *"),
            format!("{time} * {months} {weekdays}"),
        ],
        false => vec![format!("{time} {days} {months} {weekdays}")],
    };
    let any_of = expressions
        .iter()
        .map(|it| cron::Schedule::from_str(it).map_err(|error| format!("{text:?}: {error}")))
        .collect::<Result<_, _>>()?;
    let schedule = Schedule {
        text: [minute, hour, day, month, weekday].join(" "),
        any_of,
    };
    // A fixed day to count from: whether a time ever comes depends on no clock.
    if schedule.next_after(DateTime::UNIX_EPOCH).is_none() {
        return Err(format!("day of month: {day} never comes in month {month}."));
    }
    Ok(schedule)
}

impl Field {
    const fn new(name: &'static str, min: u32, max: u32, names: &'static [&'static str]) -> Self {
        Self {
            name,
            min,
            max,
            names,
        }
    }

    /// `*`, `5`, `1-5`, `mon`, each with `/step`, separated by commas.
    fn read(&self, text: &str) -> Result<BTreeSet<u32>, String> {
        let mut set = BTreeSet::new();
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                None => (part, None),
                Some((range, step)) => (range, Some(self.step(step)?)),
            };
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (self.min, self.max),
                Some((first, last)) => (self.value(first)?, self.value(last)?),
                // `5/15` is 5, 20, 35, …
                None if step.is_some() => (self.value(range)?, self.max),
                None => (self.value(range)?, self.value(range)?),
            };
            if last < first {
                return Err(self.bad(part, "a range goes from the smaller to the larger"));
            }
            set.extend((first..=last).step_by(step.unwrap_or(1)));
        }
        Ok(set)
    }

    fn step(&self, text: &str) -> Result<usize, String> {
        let step = number(text).filter(|it| (1..=self.max).contains(it));
        let step = step.and_then(|it| usize::try_from(it).ok());
        step.ok_or_else(|| self.bad(text, "a step is a number from 1"))
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        if let Some(n) = self.names.iter().position(|it| *it == lower) {
            return Ok(self.min + u32::try_from(n).unwrap_or(0));
        }
        number(text)
            .filter(|it| (self.min..=self.max).contains(it))
            .ok_or_else(|| {
                let names = match self.names {
                    [first, .., last] => format!(" or {first} to {last}"),
                    _ => String::new(),
                };
                self.bad(text, &format!("give {} to {}{names}", self.min, self.max))
            })
    }

    fn bad(&self, text: &str, what: &str) -> String {
        format!("{}: {text:?} is not understood; {what}.", self.name)
    }
}

/// Digits only: no sign, no blanks.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn list(values: &BTreeSet<u32>) -> String {
    let values: Vec<String> = values.iter().map(u32::to_string).collect();
    values.join(",")
}

/// Monday of the week, for the keeping of one backup a week.
pub(super) fn week_of(time: DateTime<Utc>) -> chrono::NaiveDate {
    time.date_naive().week(Weekday::Mon).first_day()
}

/// The first day of the month.
pub(super) fn month_of(time: DateTime<Utc>) -> (i32, u32) {
    (time.year(), time.month())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("{text}:00Z").parse().unwrap()
    }

    /// The first times after that one, by the expression.
    fn times(expression: &str, after: &str, n: usize) -> Vec<String> {
        let schedule = Schedule::parse(expression).unwrap();
        let mut time = at(after);
        (0..n)
            .map(|_| {
                time = schedule.next_after(time).unwrap();
                time.format("%a %Y-%m-%dT%H:%M").to_string()
            })
            .collect()
    }

    /// An expression, and its next two times after noon of Friday, 2026-11-20.
    const MEANINGS: &[(&str, [&str; 2])] = &[
        (
            "0 2 * * *",
            ["Sat 2026-11-21T02:00", "Sun 2026-11-22T02:00"],
        ),
        (
            "*/15 * * * *",
            ["Fri 2026-11-20T12:15", "Fri 2026-11-20T12:30"],
        ),
        (
            "5/20 * * * *",
            ["Fri 2026-11-20T12:05", "Fri 2026-11-20T12:25"],
        ),
        (
            "0 8-10/2 * * *",
            ["Sat 2026-11-21T08:00", "Sat 2026-11-21T10:00"],
        ),
        (
            "30 1,13 * * *",
            ["Fri 2026-11-20T13:30", "Sat 2026-11-21T01:30"],
        ),
        // 0 and 7 are Sunday, 1 is Monday.
        (
            "0 0 * * 0",
            ["Sun 2026-11-22T00:00", "Sun 2026-11-29T00:00"],
        ),
        (
            "0 0 * * 7",
            ["Sun 2026-11-22T00:00", "Sun 2026-11-29T00:00"],
        ),
        (
            "0 0 * * 1",
            ["Mon 2026-11-23T00:00", "Mon 2026-11-30T00:00"],
        ),
        (
            "0 0 * * sun",
            ["Sun 2026-11-22T00:00", "Sun 2026-11-29T00:00"],
        ),
        (
            "0 0 * * MON-tue",
            ["Mon 2026-11-23T00:00", "Tue 2026-11-24T00:00"],
        ),
        (
            "0 0 * * 5-7",
            ["Sat 2026-11-21T00:00", "Sun 2026-11-22T00:00"],
        ),
        (
            "0 0 * * 1-5/2",
            ["Mon 2026-11-23T00:00", "Wed 2026-11-25T00:00"],
        ),
        (
            "0 0 * * */2",
            ["Sat 2026-11-21T00:00", "Sun 2026-11-22T00:00"],
        ),
        (
            "0 0 * * fri,0",
            ["Sun 2026-11-22T00:00", "Fri 2026-11-27T00:00"],
        ),
        (
            "0 0 1 jan *",
            ["Fri 2027-01-01T00:00", "Sat 2028-01-01T00:00"],
        ),
        (
            "0 0 29 2 *",
            ["Tue 2028-02-29T00:00", "Sun 2032-02-29T00:00"],
        ),
        (
            "0 0 31 * *",
            ["Thu 2026-12-31T00:00", "Sun 2027-01-31T00:00"],
        ),
        // Both days are given: either.
        (
            "0 0 25 * mon",
            ["Mon 2026-11-23T00:00", "Wed 2026-11-25T00:00"],
        ),
        (
            "0 0 23 * mon",
            ["Mon 2026-11-23T00:00", "Mon 2026-11-30T00:00"],
        ),
        (
            "0 0 24,26 * 3",
            ["Tue 2026-11-24T00:00", "Wed 2026-11-25T00:00"],
        ),
        // One of them begins with `*`: both.
        (
            "0 0 */2 * 1",
            ["Mon 2026-11-23T00:00", "Mon 2026-12-07T00:00"],
        ),
        (
            "0 0 1-7 * */7",
            ["Sun 2026-12-06T00:00", "Sun 2027-01-03T00:00"],
        ),
    ];

    #[test]
    fn the_five_fields_mean_what_cron_says() {
        // 2026-11-20 is a Friday.
        let from = "2026-11-20T12:00";
        for (expression, expected) in MEANINGS {
            assert_eq!(times(expression, from, 2), *expected, "{expression}");
        }
    }

    #[test]
    fn it_counts_in_utc_on_days_on_which_clocks_are_changed() {
        // Clocks of Europe are put back on 2026-10-25 and forward on 2027-03-28.
        let twice = times("30 2 * * *", "2026-10-24T12:00", 2);
        assert_eq!(twice, ["Sun 2026-10-25T02:30", "Mon 2026-10-26T02:30"]);
        let skipped = times("30 2 * * *", "2027-03-27T12:00", 2);
        assert_eq!(skipped, ["Sun 2027-03-28T02:30", "Mon 2027-03-29T02:30"]);
    }

    #[test]
    fn a_bad_expression_names_the_field() {
        for (expression, words) in [
            ("", "five fields"),
            ("0 2 * *", "five fields"),
            ("0 0 2 * * *", "five fields"),
            ("0 0 2 * * * 2027", "five fields"),
            ("@daily", "five fields"),
            ("60 2 * * *", "minute"),
            ("-1 2 * * *", "minute"),
            ("+1 2 * * *", "minute"),
            ("0 24 * * *", "hour"),
            ("0 2 0 * *", "day of month"),
            ("0 2 32 * *", "day of month"),
            ("0 2 L * *", "day of month"),
            ("0 2 ? * *", "day of month"),
            ("0 2 * 13 *", "month"),
            ("0 2 * sun *", "month"),
            ("0 2 * * 8", "day of week"),
            ("0 2 * * sunday", "day of week"),
            ("0 2 * * 5#2", "day of week"),
            ("0 2 * * fri-mon", "day of week"),
            ("*/0 2 * * *", "minute"),
            ("0/ 2 * * *", "minute"),
            ("0, 2 * * *", "minute"),
            ("5-1 2 * * *", "minute"),
            ("0 2 30 2 *", "never"),
            ("0 2 31 4,6,9,11 *", "never"),
        ] {
            let error = Schedule::parse(expression).unwrap_err().to_string();
            assert!(error.contains(words), "{expression}: {error}");
        }
        assert!(Schedule::parse(&"0 ".repeat(500)).is_err());
    }

    #[test]
    fn turns_are_spread_over_the_window_but_not_into_the_next_one() {
        let window = TimeDelta::minutes(120);
        let turn = |expression, spread| {
            let schedule = Schedule::parse(expression).unwrap();
            schedule.turn_after(at("2026-11-20T12:00"), window, spread)
        };
        assert_eq!(turn("0 2 * * *", 0.0), Some(at("2026-11-21T02:00")));
        assert_eq!(turn("0 2 * * *", 0.5), Some(at("2026-11-21T03:00")));
        assert_eq!(turn("*/10 * * * *", 0.5), Some(at("2026-11-20T12:15")));
    }
}
