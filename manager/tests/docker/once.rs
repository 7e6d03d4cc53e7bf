//! Throwaway containers.
use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use openflow_manager::{
    kernel::{Clock as _, Secret, SystemClock},
    runtime::{Ended, Error, Rehearsal, Runtime as _},
};
use uuid::Uuid;

use crate::support::*;

/// One that runs `script` on a data folder of its own.
fn rehearsal(host: &Host, script: &str) -> Rehearsal {
    let spec = host.spec();
    Rehearsal {
        id: Uuid::now_v7(),
        image: IMAGE.into(),
        command: vec!["sh".into(), "-c".into(), script.into()],
        env: BTreeMap::from([("WORD".into(), Secret::new("hello"))]),
        memory_bytes: spec.memory_bytes,
        cpus: spec.cpus,
        pids_max: spec.pids_max,
        tmp_bytes: spec.tmp_bytes,
        data_dir: spec.data_dir,
        secrets_dir: None,
        user: spec.user,
        limit: Duration::from_secs(60),
    }
}

/// All containers of the installation, also those that its runtime does not
/// see.
fn containers(host: &Host) -> Vec<String> {
    let label = format!("label=openflow.installation={}", host.config.installation);
    let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &label]);
    ids.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_run_has_its_folder_and_environment_and_leaves_only_its_answer() {
    let host = Host::new().await;
    let run = rehearsal(
        &host,
        "echo $WORD; echo oops >&2; echo mine > /data/file; exit 3",
    );
    let ended = host.runtime.run_once(&run).await.unwrap();
    let expected = Ended {
        exit_code: Some(3),
        oom_killed: false,
        stdout: "hello\n".into(),
        stderr: "oops\n".into(),
    };
    assert_eq!(ended, expected);
    let written = std::fs::read_to_string(run.data_dir.join("file")).unwrap();
    assert_eq!(written, "mine\n");
    assert_eq!(containers(&host), [""; 0]);
}

#[tokio::test]
async fn inside_there_is_no_network_and_no_right_beyond_the_folder() {
    let host = Host::new().await;
    let script = "id -u; ls /sys/class/net; \
                  for f in CapEff CapBnd NoNewPrivs Seccomp; do grep $f: /proc/1/status; done; \
                  touch /x || echo read-only; \
                  wget -T 2 -q -O - http://host.docker.internal/ || echo unreachable";
    let ended = host.runtime.run_once(&rehearsal(&host, script)).await;
    let words = ended.unwrap().stdout.replace('\t', " ");
    assert_eq!(
        words,
        "1000\nlo\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1\n\
         Seccomp: 2\nread-only\nunreachable\n"
    );
}

#[tokio::test]
async fn a_run_without_end_is_killed_at_its_time_and_its_words_are_kept() {
    let host = Host::new().await;
    let mut run = rehearsal(&host, "trap '' TERM; echo begun; while :; do sleep 1; done");
    run.limit = Duration::from_secs(3);
    let ended = within("killed", host.runtime.run_once(&run)).await.unwrap();
    assert_eq!(ended.exit_code, None);
    assert_eq!(ended.stdout, "begun\n");
    assert_eq!(containers(&host), [""; 0]);
}

#[tokio::test]
async fn of_endless_output_the_end_is_kept() {
    let host = Host::new().await;
    let run = rehearsal(&host, "seq 100000; echo the end");
    let ended = host.runtime.run_once(&run).await.unwrap();
    assert!(ended.stdout.len() <= Ended::OUTPUT_BYTES_MAX);
    assert!(ended.stdout.ends_with("100000\nthe end\n"));
}

#[tokio::test]
async fn what_a_killed_manager_left_behind_is_not_seen_as_an_instance_and_swept_by_age() {
    let host = Host::new().await;
    let spec = host.spec();
    let instance = host.running(&spec).await;
    let run = rehearsal(&host, "sleep 300");
    let manager = tokio::spawn({
        let (runtime, run) = (host.another(), run.clone());
        async move { runtime.run_once(&run).await }
    });
    eventually("running", async || {
        let label = format!("label=openflow.rehearsal={}", run.id);
        let ids = docker(&["ps", "-q", "--filter", &label]);
        (!ids.is_empty()).then_some(())
    })
    .await;
    manager.abort();
    assert!(manager.await.unwrap_err().is_cancelled());

    assert_eq!(containers(&host).len(), 2);
    let listed = host.runtime.list().await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&instance));
    let before = SystemClock.now() - TimeDelta::hours(1);
    let after = SystemClock.now() + TimeDelta::seconds(1);
    let other = Host::new().await;
    other.runtime.sweep_rehearsals(after).await.unwrap();
    assert_eq!(containers(&host).len(), 2, "another installation's");
    host.runtime.sweep_rehearsals(before).await.unwrap();
    assert_eq!(containers(&host).len(), 2, "another manager may run it");
    for _ in 0..2 {
        host.runtime.sweep_rehearsals(after).await.unwrap();
    }
    assert_eq!(containers(&host).len(), 1);
    assert_eq!(host.observed(spec.instance).await, instance);
}

#[tokio::test]
async fn a_run_is_ended_by_its_id_and_no_other_with_it() {
    let host = Host::new().await;
    let (a, b) = (rehearsal(&host, "sleep 300"), rehearsal(&host, "sleep 300"));
    let run = |it: &Rehearsal| {
        let (runtime, it) = (host.another(), it.clone());
        tokio::spawn(async move { runtime.run_once(&it).await })
    };
    let (of_a, of_b) = (run(&a), run(&b));
    eventually("running", async || {
        let label = format!("label=openflow.installation={}", host.config.installation);
        let ids = docker(&["ps", "-q", "--filter", &label]);
        (ids.split_whitespace().count() == 2).then_some(())
    })
    .await;
    for _ in 0..2 {
        host.runtime.end_run(a.id).await.unwrap();
    }
    assert_eq!(containers(&host).len(), 1);
    let ended = within("ended", of_a).await.unwrap();
    assert!(ended.is_err(), "{ended:?}");
    host.runtime.end_run(b.id).await.unwrap();
    assert!(within("ended", of_b).await.unwrap().is_err());
}

#[tokio::test]
async fn what_cannot_be_run_is_an_error_and_leaves_nothing() {
    let host = Host::new().await;
    let mut run = rehearsal(&host, "true");
    run.command = vec!["/nowhere".into()];
    let ended = host.runtime.run_once(&run).await;
    assert!(matches!(ended, Err(Error::Refused(_))), "{ended:?}");
    run.image = "localhost:1/openflow/none:1".into();
    let ended = host.runtime.run_once(&run).await;
    assert_eq!(ended, Err(Error::ImageMissing(run.image.clone())));
    assert_eq!(containers(&host), [""; 0]);
}
