//! The time that a process goes by: a monotonic clock, anchored to the wall clock.
//!
//! It begins as the wall clock shows, or where a process before it was ahead of that ([`resumed`](super::resumed)). When that is set forward, it follows at once; when that is set back, it goes on, and is
//! ahead until the wall clock has caught up or the process ends. So it never goes back, never runs slower than a second a
//! second, and is never behind the wall clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ids::{Timestamp, WallClock};

use super::Clock;
use super::resumed::resumed;

/// A wall clock that is set by more is noticed. What adjusts a clock without setting it changes both clocks alike.
const NOTICED_NANOS: u64 = 5_000_000;
/// A wall clock that is set by more is logged and counted.
const LOGGED_NANOS: u64 = 1_000_000_000;
/// How far apart the two readings of the monotonic clock may be between which the wall clock is read. Further apart, the
/// thread was interrupted, and the difference of the clocks says nothing.
const MOMENT: Duration = Duration::from_millis(1);
/// How often the clocks are read in search of such a moment.
const ATTEMPTS: usize = 4;

/// Two clocks that nothing has been made of yet.
pub(crate) trait Source: Send + Sync + 'static {
    /// Time since some beginning; never goes back.
    fn monotonic(&self) -> Duration;
    /// The time of day; may be set.
    fn wall(&self) -> Timestamp;
}

/// The two clocks, in nanoseconds.
struct Reading {
    monotonic: i64,
    wall: i64,
}

impl Reading {
    /// The monotonic clock later, so that the wall clock's lead is never taken for more than it is.
    fn of(source: &impl Source) -> Self {
        let wall = source.wall().nanos();
        Self { monotonic: nanos(source.monotonic()), wall }
    }

    /// Both at one moment; `None` when the thread was interrupted at each attempt.
    fn at_one_moment(source: &impl Source) -> Option<Self> {
        (0..ATTEMPTS).find_map(|_| {
            let before = nanos(source.monotonic());
            let reading = Self::of(source);
            (reading.monotonic.saturating_sub(before) <= nanos(MOMENT)).then_some(reading)
        })
    }

    fn offset(&self) -> i64 {
        self.wall.saturating_sub(self.monotonic)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

pub(crate) struct AnchoredClock<S> {
    source: S,
    /// The process's time minus the monotonic clock. Only ever rises.
    anchor: AtomicI64,
    /// The wall clock minus the monotonic clock, as last noticed.
    offset: AtomicI64,
    /// The process's time when the wall clock was last set back.
    set_back_at: AtomicI64,
}

impl<S: Source> AnchoredClock<S> {
    pub(crate) fn new(source: S) -> Self {
        let offset = Reading::of(&source).offset();
        let set_back_at = AtomicI64::new(Timestamp::EPOCH.nanos());
        Self { source, anchor: AtomicI64::new(offset), offset: AtomicI64::new(offset), set_back_at }
    }

    /// The wall clock seems to have been set since the last reading: looks again, so as not to be taken in by an interruption.
    fn notice(&self, before: i64, now: i64) {
        let Some(offset) = Reading::at_one_moment(&self.source).map(|reading| reading.offset()) else { return };
        if offset.abs_diff(before) < NOTICED_NANOS {
            return;
        }
        let is_back = offset < before;
        if is_back {
            // Before the offset, so that a reader that finds that noticed finds this too.
            self.set_back_at.fetch_max(now, Ordering::AcqRel);
        }
        let noticed = self.offset.compare_exchange(before, offset, Ordering::AcqRel, Ordering::Acquire).is_ok();
        let by = offset.abs_diff(before);
        if noticed && by >= LOGGED_NANOS {
            let (direction, seconds) = (if is_back { "back" } else { "forward" }, by as f64 / 1e9);
            let ahead = now.saturating_sub(self.source.wall().nanos()).max(0) as f64 / 1e9;
            tracing::warn!(direction, seconds, ahead, "the wall clock was set");
            metrics::counter!("outlast_clock_jumps_total", "direction" => direction).increment(1);
        }
    }
}

impl<S: Source> Clock for AnchoredClock<S> {
    fn read(&self) -> (Timestamp, WallClock) {
        let reading = Reading::of(&self.source);
        let Reading { monotonic, wall } = reading;
        let offset = reading.offset();
        let mut anchor = self.anchor.load(Ordering::Acquire);
        if offset > anchor {
            anchor = self.anchor.fetch_max(offset, Ordering::AcqRel).max(offset);
        }
        let now = monotonic.saturating_add(anchor);
        let noticed = self.offset.load(Ordering::Acquire);
        if offset.abs_diff(noticed) >= NOTICED_NANOS {
            self.notice(noticed, now);
        }
        let set_back_at = Timestamp::from_nanos(self.set_back_at.load(Ordering::Acquire));
        let shows = Timestamp::from_nanos(wall.min(now));
        (Timestamp::from_nanos(now), WallClock { shows, set_back_at })
    }

    fn go_on_from(&self, before: (Timestamp, WallClock)) {
        let reading = Reading::of(&self.source);
        let Some((now, set_back_at)) = resumed(before, Timestamp::from_nanos(reading.wall)) else { return };
        let ahead = now.nanos().saturating_sub(reading.wall).max(0) as f64 / 1e9;
        if ahead >= 1.0 {
            tracing::warn!(ahead, "the wall clock was set back, going on with the time of the process before");
        }
        self.set_back_at.fetch_max(set_back_at.nanos(), Ordering::AcqRel);
        self.anchor.fetch_max(now.nanos().saturating_sub(reading.monotonic), Ordering::AcqRel);
    }

    fn max_sleep(&self) -> Duration {
        Duration::from_secs(1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Two clocks as a test sets them, in milliseconds.
    #[derive(Clone, Default)]
    struct Set {
        monotonic: Arc<AtomicI64>,
        wall: Arc<AtomicI64>,
    }

    impl Source for Set {
        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.monotonic.load(Ordering::Relaxed).cast_unsigned())
        }
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.wall.load(Ordering::Relaxed))
        }
    }

    const HOUR: i64 = 3_600_000;

    #[test]
    fn time_never_goes_back_never_stands_still_and_is_never_behind_the_wall_clock() {
        let set = Set::default();
        set.wall.store(10 * HOUR, Ordering::Relaxed);
        let clock = AnchoredClock::new(set.clone());
        // Milliseconds that pass, by how much the wall clock is set beside, and what is read then: the process's time,
        // the wall clock's, and when that was last set back.
        let rows = [
            (1_000, 0, (10 * HOUR + 1_000, 10 * HOUR + 1_000, 0)),
            (1_000, -HOUR, (10 * HOUR + 2_000, 9 * HOUR + 2_000, 10 * HOUR + 2_000)),
            (1_000, 0, (10 * HOUR + 3_000, 9 * HOUR + 3_000, 10 * HOUR + 2_000)),
            // Half of it is taken back: still ahead.
            (1_000, HOUR / 2, (10 * HOUR + 4_000, 19 * HOUR / 2 + 4_000, 10 * HOUR + 2_000)),
            // Set forward beyond: time follows at once.
            (1_000, HOUR, (21 * HOUR / 2 + 5_000, 21 * HOUR / 2 + 5_000, 10 * HOUR + 2_000)),
            // By very little.
            (1_000, -2, (21 * HOUR / 2 + 6_000, 21 * HOUR / 2 + 5_998, 10 * HOUR + 2_000)),
            (1_000, -100, (21 * HOUR / 2 + 7_000, 21 * HOUR / 2 + 6_898, 21 * HOUR / 2 + 7_000)),
        ];
        for (passes, set_by, expected) in rows {
            set.monotonic.fetch_add(passes, Ordering::Relaxed);
            set.wall.fetch_add(passes + set_by, Ordering::Relaxed);
            let (now, wall) = clock.read();
            let millis = |at: Timestamp| at.nanos() / 1_000_000;
            assert_eq!((millis(now), millis(wall.shows), millis(wall.set_back_at)), expected);
        }
    }

    #[test]
    fn a_clock_goes_on_where_that_of_the_process_before_it_was() {
        let set = Set::default();
        set.wall.store(10 * HOUR, Ordering::Relaxed);
        let before = AnchoredClock::new(set.clone());
        set.wall.fetch_sub(HOUR, Ordering::Relaxed);
        let shown = before.read();
        set.wall.fetch_add(5_000, Ordering::Relaxed);
        let clock = AnchoredClock::new(set.clone());
        clock.go_on_from(shown);
        let (now, wall) = clock.read();
        assert_eq!(now, Timestamp::from_millis(10 * HOUR + 5_000));
        assert_eq!((wall.shows, wall.set_back_at), (Timestamp::from_millis(9 * HOUR + 5_000), shown.1.set_back_at));
        set.wall.fetch_add(2 * HOUR, Ordering::Relaxed);
        assert_eq!(clock.read().0, Timestamp::from_millis(11 * HOUR + 5_000), "and follows the wall clock forward");
    }

    /// A source whose wall clock is read long after the monotonic one, as when the thread is stopped in between.
    struct Interrupted(Set);

    impl Source for Interrupted {
        fn monotonic(&self) -> Duration {
            self.0.monotonic.fetch_add(10_000, Ordering::Relaxed);
            self.0.wall.fetch_add(10_000, Ordering::Relaxed);
            self.0.monotonic()
        }
        fn wall(&self) -> Timestamp {
            self.0.wall()
        }
    }

    #[test]
    fn a_thread_that_was_stopped_between_two_readings_notices_no_jump() {
        let clock = AnchoredClock::new(Interrupted(Set::default()));
        let (before, _) = clock.read();
        let (after, wall) = clock.read();
        assert!(after > before);
        assert_eq!(wall.set_back_at, Timestamp::EPOCH);
    }

    #[test]
    fn a_jump_is_counted_once_with_its_direction() {
        let recorder = Counted::default();
        let set = Set::default();
        set.wall.store(10 * HOUR, Ordering::Relaxed);
        let clock = AnchoredClock::new(set.clone());
        metrics::with_local_recorder(&recorder, || {
            for set_by in [0, -HOUR, 0, 500, 2 * HOUR, 0] {
                set.monotonic.fetch_add(1_000, Ordering::Relaxed);
                set.wall.fetch_add(1_000 + set_by, Ordering::Relaxed);
                let (_, _) = (clock.read(), clock.read());
            }
        });
        assert_eq!(*recorder.0.lock().unwrap(), ["back", "forward"]);
    }

    /// Notes the direction of each jump that is counted.
    #[derive(Clone, Default)]
    struct Counted(Arc<std::sync::Mutex<Vec<String>>>);

    struct Direction(Counted, String);

    impl metrics::CounterFn for Direction {
        fn increment(&self, _: u64) {
            self.0.0.lock().unwrap().push(self.1.clone());
        }
        fn absolute(&self, _: u64) {}
    }

    impl metrics::Recorder for Counted {
        fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
        fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
        fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
        fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
            assert_eq!(key.name(), "outlast_clock_jumps_total");
            let direction = key.labels().map(|label| label.value().to_owned()).collect();
            metrics::Counter::from_arc(Arc::new(Direction(self.clone(), direction)))
        }
        fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
            metrics::Gauge::noop()
        }
        fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
            metrics::Histogram::noop()
        }
    }
}
