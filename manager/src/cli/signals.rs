use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a shell reports of a program that Ctrl-C ended.
const EXIT_CODE_INTERRUPTED: i32 = 130;

/// Cancelled by the first Ctrl-C, SIGTERM or hang-up; the second ends the
/// process at once. What is in the database and the containers is safe
/// either way.
pub(super) fn stop_token() -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = match is_hang_up_ignored() {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                Some(_) = async { hang_up.as_mut()?.recv().await } => {}
            }
            if token.is_cancelled() {
                tracing::warn!("told to stop again: ending at once");
                std::process::exit(EXIT_CODE_INTERRUPTED);
            }
            tracing::info!("stopping; once more to end at once");
            token.cancel();
        }
    });
    Ok(stop)
}

/// Whether we were started with `nohup`: then a closed terminal is no reason.
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|it| u64::from_str_radix(it.trim(), 16).ok());
    mask.is_some_and(|it| it & 1 != 0) // bit 0 is signal 1
}
