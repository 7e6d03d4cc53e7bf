//! The life of containers.
use openflow_manager::runtime::{ContainerState, Error, Probe, Runtime as _};

use crate::support::*;

#[tokio::test]
async fn a_container_lives_its_life_and_every_step_can_be_asked_twice() {
    let host = Host::new().await;
    let runtime = &host.runtime;
    let spec = host.spec();
    let id = spec.instance;
    assert!(!runtime.ping().await.unwrap().is_empty());
    assert_eq!(runtime.observe(id).await.unwrap(), None);

    for _ in 0..2 {
        runtime.create(&spec).await.unwrap();
    }
    let created = host.observed(id).await;
    assert_eq!(created.state, ContainerState::Created);
    assert_eq!(created.name, spec.name);
    assert_eq!(created.spec_hash, spec.hash());
    assert_eq!((created.address, created.started_at), (None, None));

    for _ in 0..2 {
        runtime.start(id).await.unwrap();
    }
    let running = host.healthy(id).await;
    assert_eq!(running.state, ContainerState::Running);
    assert_eq!(running.restart_count, 0);
    assert!(running.started_at.is_some());

    for _ in 0..2 {
        runtime.pause(id).await.unwrap();
    }
    let paused = host.observed(id).await;
    assert_eq!(paused.state, ContainerState::Paused);
    let address = (paused.address.unwrap(), 1880).into();
    assert_eq!(
        runtime.probe(address, "/openflow/health").await,
        Probe::Down
    );
    for _ in 0..2 {
        runtime.unpause(id).await.unwrap();
    }
    assert_eq!(host.healthy(id).await.started_at, running.started_at);
    runtime.pause(id).await.unwrap();
    runtime.start(id).await.unwrap();
    host.healthy(id).await;

    for _ in 0..2 {
        runtime.stop(id).await.unwrap();
    }
    let stopped = host.observed(id).await;
    assert_eq!(stopped.state, ContainerState::Exited);
    assert_eq!((stopped.exit_code, stopped.address), (Some(0), None));
    assert!(stopped.finished_at.is_some());
    assert!(runtime.pause(id).await.is_err());
    runtime.unpause(id).await.unwrap();

    runtime.start(id).await.unwrap();
    host.healthy(id).await;
    for _ in 0..2 {
        runtime.remove(id).await.unwrap();
    }
    assert_eq!(runtime.observe(id).await.unwrap(), None);
    runtime.stop(id).await.unwrap();
    for refused in [
        runtime.start(id).await,
        runtime.pause(id).await,
        runtime.rename(id, "x").await,
        runtime.stats(id).await.map(drop),
        runtime.logs(id, 1, false).await.map(drop),
    ] {
        assert_eq!(refused, Err(Error::NoContainer));
    }
}

#[tokio::test]
async fn a_frozen_container_is_stopped_gracefully_and_can_be_removed() {
    let host = Host::new().await;
    let spec = host.spec();
    let id = spec.instance;
    host.running(&spec).await;
    host.runtime.pause(id).await.unwrap();
    host.runtime.stop(id).await.unwrap();
    let stopped = host.observed(id).await;
    assert_eq!(stopped.state, ContainerState::Exited);
    assert_eq!(stopped.exit_code, Some(0), "SIGTERM was heard");
    host.runtime.start(id).await.unwrap();
    host.runtime.pause(id).await.unwrap();
    host.runtime.remove(id).await.unwrap();
    assert_eq!(host.runtime.observe(id).await.unwrap(), None);
}

#[tokio::test]
async fn a_deaf_process_is_killed_after_its_grace() {
    let host = Host::new().await;
    let mut spec = host.spec_that_runs("trap '' TERM");
    spec.stop_grace = std::time::Duration::from_secs(1);
    host.running(&spec).await;
    host.runtime.stop(spec.instance).await.unwrap();
    let stopped = host.observed(spec.instance).await;
    assert_eq!(stopped.exit_code, Some(137));
    assert!(!stopped.oom_killed);
}

#[tokio::test]
async fn a_crash_loop_can_be_stopped_and_removed() {
    let host = Host::new().await;
    let spec = host.spec_that_runs("exit 3");
    let id = spec.instance;
    host.runtime.create(&spec).await.unwrap();
    host.runtime.start(id).await.unwrap();
    let looping = eventually("looping", async || {
        let observed = host.observed(id).await;
        (observed.restart_count >= 3 && observed.state == ContainerState::Restarting)
            .then_some(observed)
    })
    .await;
    assert_eq!((looping.exit_code, looping.address), (Some(3), None));
    host.runtime.stop(id).await.unwrap();
    let stopped = host.observed(id).await;
    assert_eq!(stopped.state, ContainerState::Exited);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(host.observed(id).await, stopped, "it stays stopped");

    host.runtime.start(id).await.unwrap();
    host.in_state(id, ContainerState::Restarting).await;
    host.runtime.remove(id).await.unwrap();
    assert_eq!(host.runtime.observe(id).await.unwrap(), None);
}

#[tokio::test]
async fn what_the_engine_cannot_do_is_refused_and_the_next_try_is_free() {
    let host = Host::new().await;
    let mut spec = host.spec();
    spec.memory_bytes = 1; // less than any engine takes
    let created = host.runtime.create(&spec).await;
    assert!(matches!(created, Err(Error::Refused(_))), "{created:?}");
    spec.memory_bytes = 64 << 20;
    host.running(&spec).await;
}

#[tokio::test]
async fn the_next_manager_finds_containers_again_and_does_not_disturb_them() {
    let host = Host::new().await;
    let (spec, orphan) = (host.spec(), host.spec());
    let running = host.running(&spec).await;
    host.runtime.create(&orphan).await.unwrap();

    let next = host.another();
    let mut found: Vec<_> = next.list().await.unwrap();
    found.sort_by_key(|it| it.instance);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], running);
    assert_eq!(found[1].instance, orphan.instance);
    next.create(&spec).await.unwrap();
    next.start(spec.instance).await.unwrap();
    assert_eq!(host.observed(spec.instance).await, running);
}

#[tokio::test]
async fn a_changed_spec_replaces_the_container_and_a_new_name_does_not() {
    let host = Host::new().await;
    let mut spec = host.spec();
    let id = spec.instance;
    let before = host.running(&spec).await;

    let name = format!("openflow-test-{}", unique());
    for _ in 0..2 {
        host.runtime.rename(id, &name).await.unwrap();
    }
    assert_eq!(host.observed(id).await.name, name);
    host.runtime.create(&spec).await.unwrap();
    let after = host.observed(id).await;
    assert_eq!(after, before, "named as the spec says, still running");

    spec.memory_bytes *= 2;
    host.runtime.create(&spec).await.unwrap();
    let replaced = host.observed(id).await;
    assert_eq!(replaced.state, ContainerState::Created);
    assert_eq!(replaced.spec_hash, spec.hash());
    assert_eq!(host.runtime.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_managers_that_create_at_once_make_one_container() {
    let host = Host::new().await;
    let spec = host.spec();
    let other = host.another();
    let (one, two) = tokio::join!(host.runtime.create(&spec), other.create(&spec));
    one.unwrap();
    two.unwrap();
    assert_eq!(host.runtime.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn containers_of_others_are_neither_seen_nor_touched() {
    let (host, other) = (Host::new().await, Host::new().await);
    let spec = host.spec();
    let id = spec.instance;
    let running = host.running(&spec).await;

    assert_eq!(other.runtime.list().await.unwrap(), []);
    assert_eq!(other.runtime.observe(id).await.unwrap(), None);
    other.runtime.stop(id).await.unwrap();
    other.runtime.remove(id).await.unwrap();
    assert_eq!(host.observed(id).await, running);

    let mut twin = other.spec();
    twin.name = spec.name.clone();
    let taken = Err(Error::NameTaken(spec.name.clone()));
    assert_eq!(other.runtime.create(&twin).await, taken);
    assert_eq!(host.observed(id).await, running);

    let mut sibling = host.spec();
    sibling.name = spec.name.clone();
    let error = host.runtime.create(&sibling).await.unwrap_err();
    assert!(error.to_string().contains(&id.to_string()), "{error}");
}

#[tokio::test]
async fn a_name_that_a_container_without_our_labels_has_is_taken() {
    let host = Host::new().await;
    let spec = host.spec();
    docker(&["create", "--name", &spec.name, IMAGE]);
    let created = host.runtime.create(&spec).await;
    let mut other = host.spec();
    other.name = format!("openflow-test-{}", unique());
    host.runtime.create(&other).await.unwrap();
    let renamed = host.runtime.rename(other.instance, &spec.name).await;
    docker(&["rm", &spec.name]);
    assert_eq!(created, Err(Error::NameTaken(spec.name.clone())));
    assert_eq!(renamed, Err(Error::NameTaken(spec.name.clone())));
    host.runtime.create(&spec).await.unwrap();
}

#[tokio::test]
async fn images_are_looked_up_and_missing_ones_named() {
    let host = Host::new().await;
    let image = host.runtime.image(IMAGE).await.unwrap().unwrap();
    assert!(image.id.starts_with("sha256:"));
    assert!(image.labels.contains_key("openflow.test"));
    let missing = "localhost:1/openflow/none:1";
    assert_eq!(host.runtime.image(missing).await.unwrap(), None);
    let mut spec = host.spec();
    spec.image = missing.into();
    let created = host.runtime.create(&spec).await;
    assert_eq!(created, Err(Error::ImageMissing(missing.into())));
    let pulled = host.runtime.pull(missing).await;
    assert!(matches!(pulled, Err(Error::Refused(_))), "{pulled:?}");
}

#[tokio::test]
async fn a_data_folder_that_is_missing_is_refused_rather_than_made_as_root() {
    let host = Host::new().await;
    let spec = host.spec();
    std::fs::remove_dir(&spec.data_dir).unwrap();
    let created = host.runtime.create(&spec).await;
    assert!(matches!(created, Err(Error::Refused(_))), "{created:?}");
    assert!(!spec.data_dir.exists());
}
