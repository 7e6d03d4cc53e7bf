//! A bar for work of many bytes; without a terminal, a line when it begins and
//! each half minute.
use std::{
    io::{self, IsTerminal as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::console;
use crate::installation::Watch;

const LINE_PERIOD: Duration = Duration::from_secs(30);
const BAR: &str =
    "{spinner} {msg} {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {elapsed}, {eta} left";
const BAR_WITHOUT_END: &str = "{spinner} {msg} {bytes}, {bytes_per_sec}, {elapsed}";

pub(super) struct Bars {
    stop: CancellationToken,
    state: Mutex<State>,
}

struct State {
    /// `None` without a terminal.
    bar: Option<ProgressBar>,
    what: String,
    told: Instant,
}

impl Bars {
    /// The work is cancelled by `stop`.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            state: Mutex::new(State {
                bar: None,
                what: String::new(),
                told: Instant::now(),
            }),
        }
    }

    /// Takes the bar away, before results are printed.
    pub(super) fn end(&self) {
        if let Some(bar) = self.state().bar.take() {
            bar.finish_and_clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Bars {
    fn begin(&self, what: &str, bytes: u64) {
        self.end();
        let mut state = self.state();
        state.what = what.to_owned();
        state.told = Instant::now();
        if !io::stderr().is_terminal() {
            tracing::info!("{what}");
            return;
        }
        let (bar, template) = match bytes {
            0 => (ProgressBar::new_spinner(), BAR_WITHOUT_END),
            _ => (ProgressBar::new(bytes), BAR),
        };
        let bar = console::show(bar);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        state.bar = Some(bar);
    }

    fn done(&self, bytes: u64) {
        let mut state = self.state();
        if let Some(bar) = &state.bar {
            // Estimated from what the files take on the disk, it may be more.
            if bar.length().is_some_and(|it| it < bytes) {
                bar.set_length(bytes);
            }
            bar.set_position(bytes);
        } else if LINE_PERIOD < state.told.elapsed() {
            state.told = Instant::now();
            tracing::info!("{}: {} so far", state.what, HumanBytes(bytes));
        }
    }

    fn is_cancelled(&self) -> bool {
        self.stop.is_cancelled()
    }
}
