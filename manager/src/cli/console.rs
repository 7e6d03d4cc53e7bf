//! What the person in front of the terminal sees: log, steps, results.
use std::{
    io::{self, IsTerminal as _, Write},
    process::ExitCode,
    sync::LazyLock,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::{
    EnvFilter, Layer, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    config::{LogConfig, LogFormat},
    runtime::LOG_CAP,
};

/// Spinners and log lines share the terminal.
static SCREEN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// The log goes to standard error, so that standard output holds results only.
pub(super) fn start_log(config: &LogConfig) {
    let filter = EnvFilter::new(format!("{},{}", config.log_filter, LOG_CAP));
    let lines = tracing_subscriber::fmt::layer().with_writer(|| LogWriter);
    let lines: Box<dyn Layer<_> + Send + Sync> = match config.log_format {
        LogFormat::Human => Box::new(
            lines
                .with_ansi(io::stderr().is_terminal())
                .with_target(false),
        ),
        LogFormat::Json => Box::new(lines.json().flatten_event(true)),
    };
    // Fails when a log was started before, which serves as well.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(openflow_broker::drop_layer())
        .try_init();
}

struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SCREEN.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A long step under way: a spinner on a terminal, else a line of the log.
pub(super) struct Step(Option<ProgressBar>);

impl Step {
    pub(super) fn begin(what: &'static str) -> Self {
        if !io::stderr().is_terminal() {
            tracing::info!("{what}");
            return Self(None);
        }
        let bar = SCREEN.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }
}

/// Puts a bar among the spinners and log lines.
pub(super) fn show(bar: ProgressBar) -> ProgressBar {
    SCREEN.add(bar)
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A line of the result, on standard output. A reader that went away is no
/// failure.
pub(super) fn say(text: impl AsRef<str>) {
    let _ = SCREEN.suspend(|| writeln!(io::stdout(), "{}", text.as_ref()));
}

/// The program's last words.
pub(super) fn failed(error: &anyhow::Error) -> ExitCode {
    let _ = SCREEN.suspend(|| writeln!(io::stderr(), "openflow: {error:#}"));
    ExitCode::FAILURE
}
