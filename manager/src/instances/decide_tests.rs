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
        awaits_data: false,
        frozen: false,
        has_safe_mode: true,
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
fn one_that_awaits_its_data_is_not_made_before() {
    let it = Wanted {
        awaits_data: true,
        restart_wanted: 1,
        ..wanted(Desired::Running)
    };
    assert_eq!(step(&it, &Seen::new(), None), Step::AwaitData);
    let held = Wanted {
        held_down: true,
        awaits_data: false,
        ..it
    };
    assert_eq!(step(&held, &Seen::new(), None), Step::Exchange);
    for (desired, expected) in [
        (Desired::Stopped, Step::NoteStopped),
        (Desired::Absent, Step::Purge),
    ] {
        let it = Wanted {
            awaits_data: true,
            ..wanted(desired)
        };
        assert_eq!(step(&it, &Seen::new(), None), expected);
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

#[test]
fn without_a_safe_mode_it_is_stopped_for_a_while() {
    let it = Wanted {
        has_safe_mode: false,
        ..wanted(Desired::Running)
    };
    let mut seen = Seen::new();
    seen.status = Status::Running;
    let crashed = |restart_count| Observed {
        restart_count,
        ..observed(ContainerState::Running)
    };
    let four = count_crashes(&it, &mut seen, &crashed(4), at(1000));
    assert_eq!(four, CrashVerdict::Counted);
    let five = count_crashes(&it, &mut seen, &crashed(5), at(1001));
    assert_eq!(five, CrashVerdict::GiveUp);
    assert!(!seen.safe_mode && seen.retry_at.is_some());
}
