use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};

use super::*;
use crate::{kernel::ProjectId, runtime::Runtime as _};

fn spec(name: &str) -> ContainerSpec {
    ContainerSpec {
        instance: InstanceId::new(),
        project: ProjectId::new(),
        engine: "node-red",
        name: name.into(),
        image: "openflow/node-red:5".into(),
        env: BTreeMap::new(),
        memory_bytes: 256 << 20,
        cpus: 1.0,
        start_cpus: 0.0,
        pids_max: 128,
        tmp_bytes: 64 << 20,
        data_dir: "/data".into(),
        secrets_dir: None,
        user: (1000, 1000),
        network_aliases: vec![],
        aliases_pinned: false,
        stop_grace: Duration::from_secs(10),
    }
}

#[tokio::test]
async fn a_container_lives_and_its_events_are_told() {
    let fake = FakeRuntime::default();
    let mut events = fake.events().await.unwrap();
    let spec = spec("nodered-a");
    let id = spec.instance;
    fake.create(&spec).await.unwrap();
    fake.create(&spec).await.unwrap();
    fake.start(id).await.unwrap();
    let first = fake.observe(id).await.unwrap().unwrap();
    assert_eq!(first.state, ContainerState::Running);
    assert_eq!(first.spec_hash, spec.hash());
    let address = (first.address.unwrap(), 1880).into();
    assert_eq!(
        fake.probe(address, "/openflow/health").await,
        Probe::Up { flows: true }
    );
    fake.crash(id, 1);
    assert_eq!(fake.container(id).unwrap().restart_count, 1);
    fake.stop(id).await.unwrap();
    assert_eq!(fake.probe(address, "/openflow/health").await, Probe::Down);
    assert_eq!(fake.container(id).unwrap().exit_code, Some(0));
    fake.remove(id).await.unwrap();
    fake.remove(id).await.unwrap();
    assert_eq!(fake.start(id).await, Err(Error::NoContainer));

    let changed = RuntimeEvent::Instance(id);
    let died = |exit_code| RuntimeEvent::Died {
        instance: id,
        exit_code,
    };
    let expected = [
        RuntimeEvent::Connected,
        changed, // created, once
        changed, // started
        died(1),
        changed,
        died(0),
        changed, // stopped
        changed, // removed, once
    ];
    for event in expected {
        assert_eq!(events.next().now_or_never(), Some(Some(event)));
    }
    fake.set_away(true);
    assert_eq!(events.next().now_or_never(), Some(None));
    assert!(matches!(fake.list().await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn a_call_hangs_before_or_after_its_effect_and_the_next_manager_goes_on() {
    for (moment, made) in [(Moment::BeforeEffect, false), (Moment::AfterEffect, true)] {
        let fake = Arc::new(FakeRuntime::default());
        let spec = spec("nodered-a");
        let id = spec.instance;
        fake.hang_at(2, moment);
        let manager = tokio::spawn({
            let (fake, spec) = (fake.clone(), spec.clone());
            async move {
                fake.observe(spec.instance).await.unwrap();
                fake.create(&spec).await.unwrap();
                unreachable!("the second step hangs");
            }
        });
        fake.hung().await;
        manager.abort();
        assert!(manager.await.unwrap_err().is_cancelled());
        assert_eq!(fake.container(id).is_some(), made);
        fake.create(&spec).await.unwrap();
        assert_eq!(fake.count(Op::Create, id), 2);
    }
}

#[tokio::test]
async fn failures_names_images_and_logs_are_programmable() {
    let fake = FakeRuntime::default();
    let (a, b) = (spec("nodered-a"), spec("nodered-b"));
    fake.remove_image(&a.image);
    assert!(matches!(fake.create(&a).await, Err(Error::ImageMissing(_))));
    fake.pull(&a.image).await.unwrap();
    fake.take_name(&a.name);
    assert!(matches!(fake.create(&a).await, Err(Error::NameTaken(_))));
    fake.free_name(&a.name);
    fake.fail_next(Op::Create, Error::Refused("no".into()));
    assert!(matches!(fake.create(&a).await, Err(Error::Refused(_))));
    fake.create(&a).await.unwrap();
    fake.fail_instance(a.instance, Op::Start, Error::Refused("no".into()));
    assert!(fake.start(a.instance).await.is_err());
    assert!(fake.start(a.instance).await.is_err());
    fake.create(&b).await.unwrap();
    fake.start(b.instance).await.unwrap();
    fake.heal();
    fake.start(a.instance).await.unwrap();

    fake.write_log(a.instance, "one");
    fake.write_log(a.instance, "two");
    let mut log = fake.logs(a.instance, 1, true).await.unwrap();
    fake.write_log(a.instance, "three");
    fake.kill(a.instance);
    assert_eq!(log.next().await, Some(Ok("two\n".into())));
    assert_eq!(log.next().await, Some(Ok("three\n".into())));
    assert_eq!(log.next().await, None);
}
