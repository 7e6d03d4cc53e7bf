//! Events, logs and stats.
use futures_util::StreamExt as _;
use openflow_manager::{
    kernel::InstanceId,
    runtime::{ContainerState, Error, Runtime as _, RuntimeEvent},
};

use crate::support::*;

#[tokio::test]
async fn what_people_do_by_hand_is_told_by_events() {
    let (host, other) = (Host::new().await, Host::new().await);
    let (spec, foreign) = (host.spec(), other.spec());
    let (id, name) = (spec.instance, spec.name.as_str());
    let mut events = host.runtime.events().await.unwrap();
    assert_eq!(events.next().await, Some(RuntimeEvent::Connected));
    other.running(&foreign).await;
    host.running(&spec).await;

    let mut until = async |wanted: RuntimeEvent| {
        within("told", async {
            loop {
                let event = events.next().await.unwrap();
                assert_eq!(event.instance(), Some(id));
                if event == wanted {
                    return;
                }
            }
        })
        .await;
    };
    let died = |exit_code| RuntimeEvent::Died {
        instance: id,
        exit_code,
    };
    docker(&["pause", name]);
    until(RuntimeEvent::Instance(id)).await;
    host.in_state(id, ContainerState::Paused).await;
    docker(&["unpause", name]);
    host.in_state(id, ContainerState::Running).await;
    docker(&["kill", name]);
    until(died(137)).await;
    let killed = host.in_state(id, ContainerState::Exited).await;
    assert_eq!(killed.exit_code, Some(137));
    docker(&["rm", name]);
    until(RuntimeEvent::Instance(id)).await;
    eventually("gone", async || {
        host.runtime
            .observe(id)
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_crash_is_healed_by_the_engine_counted_and_told() {
    let host = Host::new().await;
    let spec = host.spec();
    let id = spec.instance;
    let before = host.running(&spec).await;
    let mut events = host.runtime.events().await.unwrap();
    std::fs::write(spec.data_dir.join("exit"), "7").unwrap();
    let after = eventually("restarted", async || {
        let observed = host.observed(id).await;
        (observed.restart_count == 1 && observed.state == ContainerState::Running)
            .then_some(observed)
    })
    .await;
    // First asked for only now: what happened since `events()` is not lost.
    within("told", async {
        let died = RuntimeEvent::Died {
            instance: id,
            exit_code: 7,
        };
        while events.next().await.unwrap() != died {}
    })
    .await;
    assert!(after.started_at > before.started_at);
    assert_eq!(after.exit_code, None);
    host.healthy(id).await;
}

#[tokio::test]
async fn out_of_memory_is_seen() {
    let host = Host::new().await;
    // Not `exec`ed: the kernel kills the hungry child, and the shell says so.
    let mut spec =
        host.spec_that_runs("[ -f /data/ate ] || { touch /data/ate; tail /dev/zero; exit $?; }");
    spec.memory_bytes = 16 << 20;
    let id = spec.instance;
    host.runtime.create(&spec).await.unwrap();
    let mut events = host.runtime.events().await.unwrap();
    host.runtime.start(id).await.unwrap();
    within("killed", async {
        let died = RuntimeEvent::Died {
            instance: id,
            exit_code: 137,
        };
        while events.next().await.unwrap() != died {}
    })
    .await;
}

#[tokio::test]
async fn the_log_is_tailed_followed_and_survives_its_rotation() {
    let mut host = Host::new().await;
    host.config.log_file_bytes = 4096;
    host.runtime = host.another();
    let spec = host.spec_that_runs(
        "echo one; echo two >&2; while [ ! -f /data/long ]; do sleep 0.1; done; \
         head -c 40000 /dev/zero | tr '\\0' x; echo; \
         while [ ! -f /data/go ]; do sleep 0.1; done; \
         i=0; while [ $i -lt 60 ]; do i=$((i+1)); printf 'line %0400d\\n' $i; sleep 0.03; done; echo last",
    );
    let id = spec.instance;
    host.runtime.create(&spec).await.unwrap();
    host.runtime.start(id).await.unwrap();
    // The pieces of the long line fill all log files: a short one that came
    // late by the other stream would push the first piece out.
    eventually("both streams", async || {
        let lines = host.runtime.logs(id, 10, false).await.unwrap();
        (lines.count().await == 2).then_some(())
    })
    .await;
    std::fs::write(spec.data_dir.join("long"), "").unwrap();
    let long = "x".repeat(40000) + "\n";
    let tail = eventually("written", async || {
        let lines = host.runtime.logs(id, 10, false).await.unwrap();
        let lines: Vec<_> = lines.map(Result::unwrap).collect().await;
        lines.contains(&long.clone().into()).then_some(lines)
    })
    .await;
    assert_eq!(tail.last().unwrap(), &long.clone());

    let mut lines = host.runtime.logs(id, 1, true).await.unwrap();
    std::fs::write(spec.data_dir.join("go"), "").unwrap();
    let mut seen = Vec::new();
    within("followed to the last line", async {
        while let Some(line) = lines.next().await {
            seen.push(String::from_utf8_lossy(&line.unwrap()).into_owned());
            if seen.last().unwrap() == "last\n" {
                return;
            }
        }
    })
    .await;
    assert_eq!(seen.last().unwrap(), "last\n", "{} lines", seen.len());
    assert!(seen.len() > 50, "{} lines", seen.len());
    assert!(seen.iter().all(|line| line.ends_with('\n')));
    host.runtime.stop(id).await.unwrap();
    within("ended with the container", async {
        while lines.next().await.is_some() {}
    })
    .await;
}

#[tokio::test]
async fn use_of_resources_is_measured() {
    let host = Host::new().await;
    let spec = host.spec_that_runs("while :; do :; done &");
    host.running(&spec).await;
    for _ in 0..3 {
        let stats = host.runtime.stats(spec.instance).await.unwrap();
        assert!(stats.cpu_percent > 1.0, "{stats:?}");
        assert!(stats.cpu_percent < 400.0, "{stats:?}");
        assert_eq!(stats.memory_limit_bytes, 64 << 20);
        assert!(stats.memory_bytes > 100_000 && stats.memory_bytes < 64 << 20);
        assert!(stats.pids >= 3, "{stats:?}");
        assert!(stats.network_rx_bytes > 0 && stats.network_tx_bytes > 0);
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    }
    host.runtime.stop(spec.instance).await.unwrap();
    let stats = host.runtime.stats(spec.instance).await.unwrap();
    assert_eq!((stats.cpu_percent, stats.memory_bytes), (0.0, 0));
}

#[tokio::test]
async fn stats_and_events_of_nobody_are_no_surprise() {
    let host = Host::new().await;
    let id = InstanceId::new();
    assert_eq!(host.runtime.stats(id).await, Err(Error::NoContainer));
    host.runtime.remove(id).await.unwrap();
    assert_eq!(host.runtime.unpause(id).await, Err(Error::NoContainer));
}
