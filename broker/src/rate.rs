//! How fast a tenant's messages are taken.
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{lock, settings::Limits};

/// Shorter waits are saved up.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// Two token buckets of one second each. A message is always let in, and its sender then waits until the bucket has
/// come out of its debt; so several senders share the rate evenly.
pub(crate) struct Rate {
    messages_per_second: f64,
    bytes_per_second: f64,
    level: Mutex<Level>,
}

struct Level {
    messages: f64,
    bytes: f64,
    at: Instant,
}

impl Rate {
    pub(crate) fn new(limits: &Limits) -> Self {
        let messages_per_second = f64::from(limits.messages_per_second.max(1));
        #[expect(
            clippy::cast_precision_loss,
            reason = "a limit of so many bytes is none"
        )]
        let bytes_per_second = limits.bytes_per_second.max(1) as f64;
        Self {
            messages_per_second,
            bytes_per_second,
            level: Mutex::new(Level {
                messages: messages_per_second,
                bytes: bytes_per_second,
                at: Instant::now(),
            }),
        }
    }

    /// Takes one message of so many bytes; returns how long its sender has to wait.
    pub(crate) fn take(&self, bytes: usize, now: Instant) -> Duration {
        let mut level = lock(&self.level);
        let passed = now.saturating_duration_since(level.at).as_secs_f64();
        level.at = level.at.max(now);
        let refill = |level: f64, rate: f64| (level + passed * rate).min(rate);
        level.messages = refill(level.messages, self.messages_per_second) - 1.0;
        #[expect(clippy::cast_precision_loss, reason = "a packet is small")]
        let bytes = bytes as f64;
        level.bytes = refill(level.bytes, self.bytes_per_second) - bytes;
        let debt = (-level.messages / self.messages_per_second)
            .max(-level.bytes / self.bytes_per_second)
            .max(0.0);
        let wait = Duration::try_from_secs_f64(debt).unwrap_or(Duration::MAX);
        if wait < WAIT_MIN {
            Duration::ZERO
        } else {
            wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_free_and_the_rest_takes_its_time() {
        let limits = Limits {
            messages_per_second: 100,
            bytes_per_second: 1_000_000,
            ..Limits::default()
        };
        let rate = Rate::new(&limits);
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(rate.take(1, now), Duration::ZERO);
        }
        let close = |wait: Duration, millis: u64| {
            let difference = wait.abs_diff(Duration::from_millis(millis));
            assert!(
                difference < Duration::from_millis(2),
                "{wait:?} for {millis} ms"
            );
        };
        close(rate.take(1, now), 10);
        close(rate.take(1, now), 20);
        close(rate.take(1, now + Duration::from_millis(30)), 0);
        close(rate.take(3_000_000, now + Duration::from_secs(10)), 2_000);
    }
}
