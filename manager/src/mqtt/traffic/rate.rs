use chrono::{DateTime, Utc};

/// Seconds that a rate looks back.
const WINDOW: usize = 10;

/// Messages per second over the last [`WINDOW`] seconds, or since the counting
/// began where that is less.
pub(super) struct Rate {
    began: i64,
    /// The second of the newest count.
    newest: i64,
    /// By second modulo the window.
    counts: [u32; WINDOW],
}

impl Rate {
    pub(super) fn new(began: DateTime<Utc>) -> Self {
        Self {
            began: began.timestamp(),
            newest: began.timestamp(),
            counts: [0; WINDOW],
        }
    }

    pub(super) fn count(&mut self, now: DateTime<Utc>) {
        // A clock that is set back stands still here.
        let second = now.timestamp().max(self.newest);
        let passed = usize::try_from(second - self.newest).unwrap_or(WINDOW);
        for n in 1..=passed.min(WINDOW) {
            self.counts[slot(self.newest + n as i64)] = 0;
        }
        // More than the window has passed: all were cleared, whatever the slot.
        self.newest = second;
        let count = &mut self.counts[slot(second)];
        *count = count.saturating_add(1);
    }

    pub(super) fn at(&self, now: DateTime<Utc>) -> f64 {
        let now = now.timestamp().max(self.newest);
        let oldest = now - WINDOW as i64 + 1;
        let counted: u64 = (oldest.max(self.newest - WINDOW as i64 + 1)..=self.newest)
            .map(|second| u64::from(self.counts[slot(second)]))
            .sum();
        let seconds = (now - self.began + 1).clamp(1, WINDOW as i64);
        // To a tenth, and never 0 while something was counted.
        let tenths = (counted as f64 * 10.0 / seconds as f64).round();
        if counted == 0 {
            0.0
        } else {
            tenths.max(1.0) / 10.0
        }
    }
}

fn slot(second: i64) -> usize {
    second.rem_euclid(WINDOW as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_rate_looks_back_ten_seconds() {
        let mut rate = Rate::new(at(0));
        assert_eq!(rate.at(at(0)), 0.0);
        for _ in 0..20 {
            rate.count(at(0));
        }
        for (seconds, expected) in [(0, 20.0), (1, 10.0), (9, 2.0), (10, 0.0), (1000, 0.0)] {
            assert_eq!(rate.at(at(seconds)), expected, "{seconds}");
        }
        rate.count(at(5));
        assert_eq!(rate.at(at(9)), 2.1);
        assert_eq!(rate.at(at(10)), 0.1);
        rate.count(at(1003));
        assert_eq!(rate.at(at(1003)), 0.1);
        // Each second replaces the one of ten seconds ago.
        for second in 2000..2100 {
            for _ in 0..5 {
                rate.count(at(second));
            }
        }
        assert_eq!(rate.at(at(2099)), 5.0);
        // A clock that goes back breaks nothing.
        rate.count(at(0));
        assert_eq!(rate.at(at(0)), 5.1);
    }
}
