//! How the time of a process goes on in the next one, whose wall clock may have been set back before or since.

use std::time::Duration;

use ids::{Timestamp, WallClock};

/// A next process begins at most so far ahead of its wall clock: a clock that is set back by more had been wrong.
const MOST_AHEAD: Duration = Duration::from_secs(24 * 3600);
/// How long after the wall clock was set back processes go on ahead of it. What waits any longer waits for days.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The time at which a process begins, ahead of its wall clock, and when that was set back; `None` to begin at the wall clock.
/// `before`: what both clocks showed when the process before it last looked.
pub(super) fn resumed(before: (Timestamp, WallClock), wall: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let (shown, before) = before;
    if wall >= shown {
        // It has come to all that was set.
        return None;
    }
    // Set back since then, the wall clock does not say for how long there was no process.
    let now = shown + wall.since(before.shows);
    let set_back_at = if wall < before.shows { now } else { before.set_back_at };
    (now.since(wall) <= MOST_AHEAD && now.since(set_back_at) <= LONGEST).then_some((now, set_back_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_until_the_wall_clock_has_come_to_it_and_not_for_ever() {
        const HOUR: i64 = 3600;
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        // Shown before: the process's time, the wall clock, when that was set back. The wall clock now. What the process
        // begins with.
        let rows = [
            ("in step", (100 * HOUR, 100 * HOUR, 0), 100 * HOUR + 5, None),
            ("set back before", (100 * HOUR, 99 * HOUR, 98 * HOUR), 99 * HOUR + 5, Some((100 * HOUR + 5, 98 * HOUR))),
            ("set right since", (100 * HOUR, 99 * HOUR, 98 * HOUR), 100 * HOUR + 5, None),
            ("stood still until then", (100 * HOUR, 99 * HOUR, 98 * HOUR), 103 * HOUR, None),
            ("set back since", (100 * HOUR, 100 * HOUR, 0), 98 * HOUR, Some((100 * HOUR, 100 * HOUR))),
            ("set back once more", (100 * HOUR, 99 * HOUR, 90 * HOUR), 98 * HOUR, Some((100 * HOUR, 100 * HOUR))),
            ("it was of another year", (9000 * HOUR, 9000 * HOUR, 0), 100 * HOUR, None),
            ("set back days ago", (200 * HOUR, 199 * HOUR, 100 * HOUR), 199 * HOUR + 5, None),
        ];
        for (case, (shown, wall_before, set_back_at), wall, begins) in rows {
            let before = (at(shown), WallClock { shows: at(wall_before), set_back_at: at(set_back_at) });
            let expected = begins.map(|(now, set_back_at)| (at(now), at(set_back_at)));
            assert_eq!(resumed(before, at(wall)), expected, "{case}");
        }
    }
}
