use std::{sync::Mutex, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use openflow_manager::kernel::{Clock, SystemClock};

/// Stands still until it is moved or let run.
pub(crate) struct TestClock(Mutex<Hands>);

struct Hands {
    at: DateTime<Utc>,
    /// Since when it runs.
    running: Option<Instant>,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Hands {
            at: SystemClock.now(),
            running: None,
        }))
    }

    pub(crate) fn advance(&self, by: TimeDelta) {
        self.0.lock().unwrap().at += by;
    }

    /// From here on time passes by itself, too.
    pub(crate) fn run(&self) {
        self.0
            .lock()
            .unwrap()
            .running
            .get_or_insert_with(Instant::now);
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        let hands = self.0.lock().unwrap();
        let passed = hands.running.map(|it| it.elapsed()).unwrap_or_default();
        hands.at + TimeDelta::from_std(passed).unwrap()
    }
}
