//! Cron schedules as the API knows them, in the dialect of Go's robfig/cron: five fields, `@hourly` and its kin, `@every
//! <duration>`, each optionally after `CRON_TZ=<zone>` (or `TZ=`). Where both day of month and day of week are restricted,
//! either may match; a star with a step restricts. A local time that a change of the clocks skips does not come that day, one
//! that it repeats comes twice.
//!
//! `cron_dialect.txt` has what robfig/cron 3.0.1 makes of a few hundred schedules.

use std::time::Duration;

use ids::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Span, Timestamp as Instant};

/// A parsed schedule.
#[derive(Clone, Debug)]
pub struct Cron {
    zone: TimeZone,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Every(Duration),
    Fields(Fields),
}

/// Allowed values, a bit each.
#[derive(Clone, Debug)]
struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether `days` and `weekdays` were given as `*` (or `?`).
    any_day: bool,
    any_weekday: bool,
}

/// Checks a schedule; the error says what is wrong with it. An empty one is fine: it means none.
pub fn validate(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { Cron::parse(text).map(drop) }
}

impl Cron {
    /// Parses a schedule.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (zone, rest) = match text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ=")) {
            Some(zoned) => {
                let (name, rest) =
                    zoned.split_once(' ').ok_or_else(|| format!("cron {text:?} has only a time zone"))?;
                let zone = TimeZoneDatabase::bundled().get(name);
                let zone = zone.map_err(|_| format!("cron time zone {name:?} is unknown"))?;
                (zone, rest.trim())
            }
            None => (TimeZone::UTC, text),
        };
        Ok(Self { zone, rule: parse_rule(rest)? })
    }

    /// The first time after `after`; `None` if there is none within five years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every(interval) => Some(whole_second(after) + *interval),
            Rule::Fields(fields) => fields.next(after, &self.zone),
        }
    }

    /// How long after `closed` the next run begins, when the one before was scheduled or started at `started`. Whole
    /// seconds, rounded up, as clients have come to expect.
    pub fn backoff(&self, started: Timestamp, closed: Timestamp) -> Option<Duration> {
        let next = match &self.rule {
            Rule::Every(interval) => {
                // Ticks are whole seconds, and the first that is not before the close counts.
                let first = whole_second(started);
                let periods = closed.since(first).as_nanos().div_ceil(interval.as_nanos().max(1)).max(1);
                first + interval.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX))
            }
            Rule::Fields(fields) => fields.next(started.max(closed), &self.zone)?,
        };
        let wait = next.since(closed);
        let rounded = Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        Some(rounded)
    }
}

fn parse_rule(text: &str) -> Result<Rule, String> {
    if let Some(duration) = text.strip_prefix("@every ") {
        // Cut to whole seconds, and at least one.
        return parse_go_duration(duration)
            .map(|duration| Rule::Every(Duration::from_secs(duration.as_secs().max(1))))
            .ok_or_else(|| format!("cron interval {duration:?} must be a duration such as 1h30m"));
    }
    let text = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => other,
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, days, months, weekdays] = fields[..] else {
        return Err(format!(
            "cron {text:?} has {} fields; 5 are expected: minute hour day month weekday",
            fields.len()
        ));
    };
    Ok(Rule::Fields(Fields {
        minutes: parse_field(minutes, "minute", 0, 59, &[])?,
        hours: parse_field(hours, "hour", 0, 23, &[])?,
        days: parse_field(days, "day of month", 1, 31, &[])?,
        months: parse_field(months, "month", 1, 12, MONTHS)?,
        weekdays: parse_field(weekdays, "weekday", 0, 6, WEEKDAYS)?,
        any_day: is_any(days),
        any_weekday: is_any(weekdays),
    }))
}

/// Whether a field restricts nothing. One with a step does, even if it begins with a star.
fn is_any(field: &str) -> bool {
    field.split(',').any(|part| {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        range.starts_with(['*', '?']) && step.parse() == Ok(1u32)
    })
}

const MONTHS: &[&str] = &["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A list of values, ranges and steps, as bits.
fn parse_field(text: &str, name: &str, low: u32, high: u32, words: &[&str]) -> Result<u64, String> {
    let refused = |part: &str| format!("cron {name} {part:?} is not within {low} to {high}");
    let value = |word: &str| -> Option<u32> {
        let lower = word.to_ascii_lowercase();
        let named = words.iter().position(|known| !known.is_empty() && *known == lower);
        named.map(|at| at as u32).or_else(|| word.parse().ok())
    };
    let mut bits = 0u64;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0).ok_or_else(|| refused(part))?),
            None => (part, 1u32),
        };
        let (from, to) = match range {
            // What follows a star is not looked at.
            range if matches!(range.split('-').next(), Some("*" | "?")) => (low, high),
            _ => match range.split_once('-') {
                Some((from, to)) => {
                    (value(from).ok_or_else(|| refused(part))?, value(to).ok_or_else(|| refused(part))?)
                }
                None => {
                    let from = value(range).ok_or_else(|| refused(part))?;
                    (from, if part.contains('/') { high } else { from })
                }
            },
        };
        if from < low || to > high || from > to {
            return Err(refused(part));
        }
        for at in (from..=to).step_by(step as usize) {
            bits |= 1 << at;
        }
    }
    Ok(bits)
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let instant = Instant::from_nanosecond(i128::from(after.nanos())).ok()?;
        let local = instant.to_zoned(zone.clone()).datetime();
        let mut date = local.date();
        let last = date.checked_add(Span::new().years(5)).ok()?;
        while date <= last {
            if self.matches_day(date) {
                let times = self.times().flat_map(|time| instants(date.to_datetime(time), zone));
                // Where clocks are set back, later local times come before the second round of earlier ones.
                if let Some(found) = times.filter(|at| *at > after).min() {
                    return Some(found);
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn matches_day(&self, date: Date) -> bool {
        let day = self.days >> date.day() & 1 == 1;
        let weekday = self.weekdays >> date.weekday().to_sunday_zero_offset() & 1 == 1;
        let matches = if self.any_day || self.any_weekday { day && weekday } else { day || weekday };
        matches && self.months >> date.month() & 1 == 1
    }

    fn times(&self) -> impl Iterator<Item = Time> + '_ {
        let hours = (0..24i8).filter(|hour| self.hours >> hour & 1 == 1);
        hours.flat_map(|hour| {
            let minutes = (0..60i8).filter(|minute| self.minutes >> minute & 1 == 1);
            minutes.map(move |minute| Time::constant(hour, minute, 0, 0))
        })
    }
}

/// When clocks in `zone` show this: never, once, or twice.
fn instants(local: DateTime, zone: &TimeZone) -> impl Iterator<Item = Timestamp> {
    let offsets = match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => [Some(offset), None],
        AmbiguousOffset::Gap { .. } => [None, None],
        AmbiguousOffset::Fold { before, after } => [Some(before), Some(after)],
    };
    offsets.into_iter().flatten().filter_map(move |offset| {
        let at = offset.to_timestamp(local).ok()?;
        Some(Timestamp::from_nanos(i64::try_from(at.as_nanosecond()).ok()?))
    })
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds_and_nanos(at.seconds_and_nanos().0, 0)
}

/// The longest duration that Go knows: 2^63 - 1 nanoseconds.
const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);

/// A duration as Go writes it: `1h30m`, `1.5s`, `300ms`. A negative one counts as none.
fn parse_go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_negative = text.starts_with('-');
    let mut rest = unsigned;
    let mut total = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..number].parse().ok()?;
        let tail = &rest[number..];
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let seconds = match &tail[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += value * seconds;
        rest = &tail[unit..];
    }
    let total = Duration::try_from_secs_f64(total).ok().filter(|total| *total <= LONGEST && !unsigned.is_empty())?;
    Some(if is_negative { Duration::ZERO } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let instant: Instant = text.parse().unwrap();
        Timestamp::from_nanos(i64::try_from(instant.as_nanosecond()).unwrap())
    }

    #[test]
    fn the_next_time_follows_the_fields() {
        let rows = [
            ("* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"),
            ("0 12 * * mon-fri", "2026-01-02T12:00:00Z", "2026-01-05T12:00:00Z"),
            ("0 0 31 * *", "2026-02-01T00:00:00Z", "2026-03-31T00:00:00Z"),
            ("0 0 1 * 0", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("CRON_TZ=Europe/Berlin 30 8 * * *", "2026-07-01T00:00:00Z", "2026-07-01T06:30:00Z"),
        ];
        for (cron, after, expected) in rows {
            assert_eq!(Cron::parse(cron).unwrap().next(at(after)), Some(at(expected)), "{cron}");
        }
    }

    #[test]
    fn an_interval_counts_from_the_start_of_the_run_before() {
        let cron = Cron::parse("@every 10s").unwrap();
        let start = at("2026-01-01T00:00:00Z");
        let after = |millis: u64| cron.backoff(start, start + Duration::from_millis(millis)).unwrap().as_secs();
        assert_eq!([after(0), after(1000), after(9_500), after(10_000), after(25_000)], [10, 9, 1, 0, 5]);
    }

    /// What the public server was seen to do: `@every 3s`, executed at .959 and closed 3.212 s later, waits for the tick 6 s
    /// after the whole second.
    #[test]
    fn ticks_of_an_interval_are_whole_seconds() {
        let cron = Cron::parse("@every 3s").unwrap();
        let backoff = |executed: &str, closed: &str| cron.backoff(at(executed), at(closed)).unwrap().as_secs();
        assert_eq!(backoff("2026-01-01T00:00:55.959Z", "2026-01-01T00:00:59.171Z"), 2);
        assert_eq!(backoff("2026-01-01T00:00:11.852Z", "2026-01-01T00:00:15.266Z"), 2);
        assert_eq!(backoff("2026-01-01T00:00:49.834Z", "2026-01-01T00:00:52.547Z"), 3);
    }

    /// Made by a program around robfig/cron 3.0.1: a schedule and `refused`, or a schedule, an instant and the next three.
    #[test]
    fn the_dialect_is_that_of_robfig_cron() {
        let table = include_str!("cron_dialect.txt");
        assert!(table.lines().count() > 1000);
        for line in table.lines() {
            let (spec, rest) = line[1..].split_once("\" ").unwrap();
            let spec = spec.replace("\\t", "\t");
            let cron = Cron::parse(&spec);
            if rest == "refused" {
                assert!(cron.is_err(), "{line}");
                continue;
            }
            let cron = cron.unwrap_or_else(|error| panic!("{line}: {error}"));
            let mut words = rest.split(' ');
            let mut after = at(words.next().unwrap());
            for expected in words {
                let found = cron.next(after);
                assert_eq!(found, (expected != "never").then(|| at(expected)), "{line}");
                after = found.unwrap_or(after);
            }
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_its_reason() {
        for text in [
            "x",
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "@every",
            "0 0 * * 7",
            "@often",
            "CRON_TZ=Nowhere/Land * * * * *",
        ] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
        assert!(validate("").is_ok());
    }
}
