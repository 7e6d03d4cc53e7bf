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
    /// A backup holds it still.
    pub(super) frozen: bool,
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
    if !seen.safe_mode && CRASHES_TO_SAFE_MODE <= seen.crash_count {
        seen.safe_mode = true;
        return CrashVerdict::EnterSafeMode;
    }
    if seen.safe_mode && CRASHES_TO_GIVE_UP <= seen.crash_count {
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
mod tests {
    use super::*;
    use crate::kernel::InstanceId;

    const STATES: [ContainerState; 6] = [
        ContainerState::Created,
        ContainerState::Running,
        ContainerState::Paused,
        ContainerState::Restarting,
        ContainerState::Exited,
        ContainerState::Dead,
    ];

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn observed(state: ContainerState) -> Observed {
        Observed {
            instance: InstanceId::new(),
            name: "nodered-a".to_owned(),
            spec_hash: "spec".to_owned(),
            state,
            address: None,
            exit_code: None,
            oom_killed: false,
            restart_count: 0,
            started_at: None,
            finished_at: None,
        }
    }

    fn wanted(desired: Desired) -> Wanted<'static> {
        Wanted {
            desired,
            restart_wanted: 0,
            spec_hash: "spec",
            upgrading: false,
            held_down: false,
            frozen: false,
        }
    }

    fn step(wanted: &Wanted<'_>, seen: &Seen, state: Option<ContainerState>) -> Step {
        next_step(wanted, seen, state.map(observed).as_ref(), at(1000))
    }

    #[test]
    fn every_pair_of_desired_and_observed_has_its_step() {
        use ContainerState as S;
        let table = [
            (Desired::Running, None, Step::Create),
            (Desired::Running, Some(S::Created), Step::Start),
            (Desired::Running, Some(S::Running), Step::Check),
            (Desired::Running, Some(S::Paused), Step::Unpause),
            (Desired::Running, Some(S::Restarting), Step::Wait),
            (Desired::Running, Some(S::Exited), Step::Start),
            (Desired::Running, Some(S::Dead), Step::Remove),
            (Desired::Stopped, None, Step::NoteStopped),
            (Desired::Stopped, Some(S::Created), Step::NoteStopped),
            (Desired::Stopped, Some(S::Running), Step::Stop),
            (Desired::Stopped, Some(S::Paused), Step::Stop),
            (Desired::Stopped, Some(S::Restarting), Step::Stop),
            (Desired::Stopped, Some(S::Exited), Step::NoteStopped),
            (Desired::Stopped, Some(S::Dead), Step::Remove),
            (Desired::Absent, None, Step::Purge),
        ];
        for (desired, state, expected) in table {
            assert_eq!(
                step(&wanted(desired), &Seen::new(), state),
                expected,
                "{desired:?} {state:?}"
            );
        }
        for state in STATES {
            assert_eq!(
                step(&wanted(Desired::Absent), &Seen::new(), Some(state)),
                Step::Remove
            );
        }
    }

    #[test]
    fn changed_settings_wait_for_a_restart_but_an_upgrade_does_not() {
        let mut it = wanted(Desired::Running);
        it.spec_hash = "new";
        assert_eq!(
            step(&it, &Seen::new(), Some(ContainerState::Running)),
            Step::Check
        );
        assert_eq!(
            step(&it, &Seen::new(), Some(ContainerState::Exited)),
            Step::Replace
        );
        it.upgrading = true;
        assert_eq!(
            step(&it, &Seen::new(), Some(ContainerState::Running)),
            Step::Replace
        );
        let restart = Wanted {
            restart_wanted: 1,
            ..wanted(Desired::Running)
        };
        for state in [
            ContainerState::Running,
            ContainerState::Exited,
            ContainerState::Restarting,
        ] {
            assert_eq!(step(&restart, &Seen::new(), Some(state)), Step::Replace);
        }
    }

    #[test]
    fn a_restore_stops_it_first_whatever_is_wanted() {
        use ContainerState as S;
        for desired in [Desired::Running, Desired::Stopped] {
            let held = Wanted {
                held_down: true,
                ..wanted(desired)
            };
            for state in [S::Running, S::Paused, S::Restarting] {
                assert_eq!(step(&held, &Seen::new(), Some(state)), Step::Stop);
            }
            for state in [None, Some(S::Created), Some(S::Exited)] {
                assert_eq!(step(&held, &Seen::new(), state), Step::Exchange);
            }
        }
        let held = Wanted {
            held_down: true,
            ..wanted(Desired::Absent)
        };
        assert_eq!(step(&held, &Seen::new(), None), Step::Purge);
    }

    #[test]
    fn what_a_backup_holds_still_is_left_so() {
        let frozen = Wanted {
            frozen: true,
            ..wanted(Desired::Running)
        };
        let paused = Some(ContainerState::Paused);
        assert_eq!(step(&frozen, &Seen::new(), paused), Step::Wait);
        let stop = Wanted {
            frozen: true,
            ..wanted(Desired::Stopped)
        };
        assert_eq!(step(&stop, &Seen::new(), paused), Step::Stop);
    }

    #[test]
    fn a_failed_try_waits_until_it_is_due() {
        let mut seen = Seen::new();
        seen.failed("no".to_owned(), at(1000));
        assert_eq!(step(&wanted(Desired::Running), &seen, None), Step::Wait);
        assert_eq!(step(&wanted(Desired::Absent), &seen, None), Step::Purge);
        seen.retry_at = Some(at(1000));
        assert_eq!(step(&wanted(Desired::Running), &seen, None), Step::Create);
    }

    #[test]
    fn repeated_crashes_lead_to_safe_mode_and_then_to_a_pause() {
        let mut seen = Seen {
            status: Status::Running,
            ..Seen::new()
        };
        let mut it = observed(ContainerState::Running);
        let mut verdicts = Vec::new();
        for crash in 1..=8 {
            it.restart_count = crash;
            verdicts.push(count_crashes(
                &wanted(Desired::Running),
                &mut seen,
                &it,
                at(1000 + crash),
            ));
            // looking again without a new crash changes nothing
            assert_eq!(
                count_crashes(&wanted(Desired::Running), &mut seen, &it, at(1000 + crash)),
                CrashVerdict::None
            );
        }
        use CrashVerdict::{Counted, EnterSafeMode, GiveUp};
        let expected = [
            Counted,
            Counted,
            Counted,
            Counted,
            EnterSafeMode,
            Counted,
            Counted,
            GiveUp,
        ];
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn a_long_calm_run_forgives() {
        let mut seen = Seen {
            status: Status::Running,
            ..Seen::new()
        };
        let mut it = observed(ContainerState::Running);
        it.restart_count = 4;
        count_crashes(&wanted(Desired::Running), &mut seen, &it, at(0));
        assert_eq!(seen.crash_count, 4);
        count_crashes(&wanted(Desired::Running), &mut seen, &it, at(3600));
        assert_eq!(seen.crash_count, 0);
    }

    #[test]
    fn a_container_that_was_stopped_on_purpose_did_not_crash() {
        let mut seen = Seen {
            status: Status::Stopped,
            ..Seen::new()
        };
        let it = observed(ContainerState::Exited);
        assert_eq!(
            count_crashes(&wanted(Desired::Running), &mut seen, &it, at(0)),
            CrashVerdict::None
        );
        let mut seen = Seen {
            status: Status::Running,
            ..Seen::new()
        };
        assert_eq!(
            count_crashes(&wanted(Desired::Stopped), &mut seen, &it, at(0)),
            CrashVerdict::None
        );
    }
}
