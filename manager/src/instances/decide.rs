use chrono::{DateTime, TimeDelta, Utc};

use super::{Desired, Status, model::Seen};
use crate::runtime::{ContainerState, Observed};

/// So many crashes in a row start the engine in safe mode.
pub(super) const CRASHES_TO_SAFE_MODE: i32 = 5;
/// So many more, in safe mode, and it is left stopped for a while.
pub(super) const CRASHES_TO_GIVE_UP: i32 = 8;
/// A run this long forgives the crashes before it.
const CRASH_WINDOW: TimeDelta = TimeDelta::minutes(10);
const GIVE_UP_PAUSE: TimeDelta = TimeDelta::minutes(5);

/// The program's exit status when it cannot start for a reason that it knows
/// and told: the next try would end the same (EX_CONFIG of sysexits.h).
pub(super) const CANNOT_START: i64 = 78;

/// What should be, as far as the next step depends on it.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) desired: Desired,
    pub(super) restart_wanted: i64,
    /// Hash of the container spec that the row describes now.
    pub(super) spec_hash: &'a str,
    /// The row names another stack than the one that was last healthy.
    pub(super) upgrading: bool,
    /// A restore needs it stopped.
    pub(super) held_down: bool,
    /// It is not to run before its data are there.
    pub(super) awaits_data: bool,
    /// A backup holds it still.
    pub(super) frozen: bool,
    /// The engine can start without its flows.
    pub(super) has_safe_mode: bool,
}

/// What to do next. Doing it twice does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Remove the container.
    Remove,
    /// No container any more: remove the data folder and the row.
    Purge,
    Stop,
    /// Stopped as wanted: write that down.
    NoteStopped,
    /// Stopped for a restore: exchange the files, or exchange them back.
    Exchange,
    /// Make the container and start it.
    Create,
    /// Start the container that is there.
    Start,
    /// Stop and remove the container, then create.
    Replace,
    Unpause,
    /// Look whether it is healthy, and write that down.
    Check,
    /// A crash was counted and the next try is not due yet, or it is frozen.
    Wait,
    /// The data that it was made for are still being put beside.
    AwaitData,
}

/// The whole of the reconciler's judgement: wanted, kept in mind and seen in,
/// next step out.
pub(super) fn next_step(
    wanted: &Wanted<'_>,
    seen: &Seen,
    observed: Option<&Observed>,
    now: DateTime<Utc>,
) -> Step {
    let state = observed.map(|it| it.state);
    match (wanted.desired, state) {
        (Desired::Absent, None) => Step::Purge,
        (Desired::Absent, Some(_)) => Step::Remove,
        (_, Some(ContainerState::Dead)) => Step::Remove,
        (Desired::Running, None) if wanted.awaits_data => Step::AwaitData,
        (Desired::Running, _) if !wanted.held_down => run_step(wanted, seen, observed, now),
        (
            _,
            Some(ContainerState::Running | ContainerState::Paused | ContainerState::Restarting),
        ) => Step::Stop,
        (_, _) if wanted.held_down => Step::Exchange,
        (_, _) => Step::NoteStopped,
    }
}

fn run_step(
    wanted: &Wanted<'_>,
    seen: &Seen,
    observed: Option<&Observed>,
    now: DateTime<Utc>,
) -> Step {
    let due = seen.retry_at.is_none_or(|at| at <= now);
    let restart = seen.restart_done < wanted.restart_wanted;
    let Some(observed) = observed else {
        return if due || restart {
            Step::Create
        } else {
            Step::Wait
        };
    };
    let other_spec = observed.spec_hash != wanted.spec_hash;
    if is_replaced(wanted, seen, observed) {
        return if due || restart {
            Step::Replace
        } else {
            Step::Wait
        };
    }
    match observed.state {
        ContainerState::Running => Step::Check,
        ContainerState::Paused if wanted.frozen => Step::Wait,
        ContainerState::Paused => Step::Unpause,
        ContainerState::Restarting => Step::Wait,
        ContainerState::Created | ContainerState::Exited | ContainerState::Dead => {
            match (due, other_spec) {
                (false, _) => Step::Wait,
                (true, true) => Step::Replace,
                (true, false) => Step::Start,
            }
        }
    }
}

/// Whether the container is on its way out, running or not: somebody asked for
/// a new one, or it is to get into safe mode. How it ends is no crash: it may
/// have been stopped for it already.
pub(super) fn is_replaced(wanted: &Wanted<'_>, seen: &Seen, observed: &Observed) -> bool {
    let other_spec = observed.spec_hash != wanted.spec_hash;
    seen.restart_done < wanted.restart_wanted
        || (other_spec && (wanted.upgrading || seen.safe_mode))
}

/// What counting the crashes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CrashVerdict {
    /// Nothing new.
    None,
    /// Counted; the engine, or the next step, starts it again.
    Counted,
    /// Replace it with one in safe mode.
    EnterSafeMode,
    /// Stop it, and try again at `retry_at`.
    GiveUp,
}

/// Counts crashes since the last look: the engine's own restarts, and a
/// container that ended although it should run. Updates what is kept in mind.
pub(super) fn count_crashes(
    wanted: &Wanted<'_>,
    seen: &mut Seen,
    observed: &Observed,
    now: DateTime<Utc>,
) -> CrashVerdict {
    let restarts = i32::try_from(observed.restart_count).unwrap_or(i32::MAX);
    let mut new = (restarts - seen.crashes_seen).max(0);
    seen.crashes_seen = restarts;
    // An ended run is told from an old one by the status: only one that was up
    // (or coming up) can have crashed.
    let was_up = matches!(
        seen.status,
        Status::Starting | Status::Running | Status::Unhealthy | Status::SafeMode
    );
    if observed.state == ContainerState::Exited && was_up {
        new += 1;
    }
    if wanted.desired != Desired::Running || wanted.held_down {
        return CrashVerdict::None;
    }
    if new == 0 {
        let calm = seen.last_crash_at.is_none_or(|at| CRASH_WINDOW < now - at);
        if calm && observed.state == ContainerState::Running {
            seen.crash_count = 0;
        }
        return CrashVerdict::None;
    }
    if seen.last_crash_at.is_some_and(|at| CRASH_WINDOW < now - at) {
        seen.crash_count = 0;
    }
    seen.crash_count = seen.crash_count.saturating_add(new);
    seen.last_crash_at = Some(now);
    if wanted.has_safe_mode && !seen.safe_mode && CRASHES_TO_SAFE_MODE <= seen.crash_count {
        seen.safe_mode = true;
        return CrashVerdict::EnterSafeMode;
    }
    let bearable = match wanted.has_safe_mode {
        true => CRASHES_TO_GIVE_UP,
        false => CRASHES_TO_SAFE_MODE,
    };
    if bearable <= seen.crash_count {
        seen.retry_at = Some(now + GIVE_UP_PAUSE);
        return CrashVerdict::GiveUp;
    }
    CrashVerdict::Counted
}

/// Why a run ended, for a person. `died` is the exit code that the engine's
/// event told; a container that was restarted since no longer knows.
pub(super) fn crash_reason(observed: &Observed, died: Option<i64>) -> String {
    match died.or(observed.exit_code) {
        // 134: V8 aborts at its own heap limit; the kernel's killer says 137.
        Some(134) => "out of memory (the heap is full)".to_owned(),
        _ if observed.oom_killed => "out of memory (killed by the kernel)".to_owned(),
        Some(137) => "killed (SIGKILL)".to_owned(),
        Some(143) => "terminated (SIGTERM)".to_owned(),
        Some(code) => format!("exit code {code}"),
        None => "ended for an unknown reason".to_owned(),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
