//! The rehearsal that the Node-RED image brings, as the manager runs it.
use std::{collections::BTreeMap, fs, os::unix::fs::chown, path::Path, time::Duration};

use openflow_manager::{
    kernel::Secret,
    runtime::{Ended, Rehearsal, Runtime as _},
};
use serde_json::Value;
use uuid::Uuid;

use crate::support::*;

const NODE_RED: &str = "openflow/node-red:5";

async fn rehearse(host: &Host, fill: impl FnOnce(&Path)) -> (Ended, Value) {
    let spec = host.spec();
    fill(&spec.data_dir);
    for file in fs::read_dir(&spec.data_dir).unwrap() {
        chown(file.unwrap().path(), Some(USER), Some(USER)).unwrap();
    }
    let env = [
        ("OPENFLOW_MAGIC_TOKEN", "omt_of-nobody-0123456789abcdef"),
        ("OPENFLOW_CREDENTIAL_SECRET", "ocs_of-this-test-0123456789"),
        ("OPENFLOW_SUBDOMAIN", "rehearsal"),
        ("OPENFLOW_NAME", "rehearsal"),
        ("OPENFLOW_URL", "http://rehearsal.localhost"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), Secret::new(value)));
    let instance = (
        "OPENFLOW_INSTANCE_ID".to_owned(),
        Secret::new(spec.instance.to_string()),
    );
    let mut env = BTreeMap::from(env);
    env.extend([instance]);
    let rehearsal = Rehearsal {
        id: Uuid::now_v7(),
        image: NODE_RED.into(),
        command: vec!["node".into(), "/opt/openflow/node-red/rehearse.js".into()],
        env,
        memory_bytes: 384 << 20,
        cpus: 1.0,
        pids_max: 256,
        tmp_bytes: 64 << 20,
        data_dir: spec.data_dir,
        secrets_dir: None,
        user: spec.user,
        limit: Duration::from_secs(300),
    };
    let ended = host.runtime.run_once(&rehearsal).await.unwrap();
    let verdict = ended.stdout.lines().last().unwrap_or_default();
    let verdict = serde_json::from_str(verdict)
        .unwrap_or_else(|_| panic!("{ended:?}: build the image anew: images/build.sh node-red"));
    (ended, verdict)
}

#[tokio::test]
async fn node_red_lives_with_a_sound_folder_and_not_with_anothers_credentials() {
    let host = Host::new().await;
    let (ended, verdict) = rehearse(&host, |folder| {
        let flows = r#"[{"id":"t","type":"tab","label":"T"},{"id":"c","type":"comment","z":"t","x":1,"y":1,"wires":[]}]"#;
        fs::write(folder.join("flows.json"), flows).unwrap();
    })
    .await;
    assert_eq!(ended.exit_code, Some(0), "{verdict:#}");
    assert_eq!(verdict["ok"], true, "{verdict:#}");
    assert_eq!(
        verdict["checks"].as_array().unwrap().len(),
        4,
        "{verdict:#}"
    );

    let (ended, verdict) = rehearse(&host, |folder| {
        let sealed = format!(r#"{{"$":"{}{}"}}"#, "0f".repeat(16), "bm90IG91cnM=");
        fs::write(folder.join("flows_cred.json"), sealed).unwrap();
    })
    .await;
    assert_eq!(ended.exit_code, Some(1));
    let checks = verdict["checks"].as_array().unwrap().iter();
    let failed: Vec<_> = checks.filter(|it| it["ok"] == false).collect();
    assert_eq!(failed.len(), 1, "{verdict:#}");
    assert_eq!(failed[0]["name"], "credentials");
}
