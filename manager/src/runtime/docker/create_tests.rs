use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    kernel::{InstanceId, ProjectId, Secret},
    runtime::NetworkInfo,
};

fn spec() -> ContainerSpec {
    ContainerSpec {
        instance: InstanceId::new(),
        project: ProjectId::new(),
        engine: "node-red",
        name: "nodered-wf1".into(),
        image: "openflow/node-red:5".into(),
        env: BTreeMap::from([("A".into(), Secret::new("b=c"))]),
        memory_bytes: 256 << 20,
        cpus: 0.5,
        start_cpus: 0.0,
        pids_max: 128,
        tmp_bytes: 64 << 20,
        data_dir: "/srv/data".into(),
        secrets_dir: None,
        user: (1000, 1001),
        network_aliases: vec!["nodered-shop".into()],
        aliases_pinned: true,
        stop_grace: Duration::from_secs(10),
    }
}

fn network() -> Network {
    Network {
        id: "n".into(),
        bridge: "openflow0".into(),
        info: NetworkInfo {
            subnets: vec!["172.30.0.0/16".parse().unwrap()],
            gateways: vec!["172.30.0.1".parse().unwrap()],
        },
    }
}

/// Written out in full: whatever is added to the request has to be added here
/// with open eyes.
#[test]
fn the_engine_is_told_exactly_this() {
    let spec = spec();
    let config = DockerConfig::new(Uuid::nil());
    let body = serde_json::to_value(body(&spec, &config, &network())).unwrap();
    let expected = json!({
        "Image": "openflow/node-red:5",
        "Hostname": "nodered-wf1",
        "User": "1000:1001",
        "Env": ["A=b=c"],
        "Labels": {
            "openflow.installation": "00000000-0000-0000-0000-000000000000",
            "openflow.instance": spec.instance.to_string(),
            "openflow.project": spec.project.to_string(),
            "openflow.engine": "node-red",
            "openflow.spec": spec.hash(),
        },
        "StopSignal": "SIGTERM",
        "StopTimeout": 10,
        "Healthcheck": {"Test": ["NONE"]},
        "NetworkingConfig": {"EndpointsConfig": {"openflow-network": {
            "Aliases": ["nodered-wf1", "nodered-shop"],
        }}},
        "HostConfig": {
            "Memory": 256 << 20,
            "MemorySwap": 256 << 20,
            "NanoCpus": 500_000_000,
            "PidsLimit": 128,
            "OomScoreAdj": 500,
            "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": true,
            "Tmpfs": {"/tmp": "rw,nosuid,nodev,noexec,size=67108864"},
            "Mounts": [{
                "Type": "bind", "Source": "/srv/data", "Target": "/data",
                "BindOptions": {"Propagation": "rprivate"},
            }],
            "CgroupnsMode": "private",
            "IpcMode": "private",
            "NetworkMode": "openflow-network",
            "ExtraHosts": ["host.docker.internal:172.30.0.1"],
            "RestartPolicy": {"Name": "unless-stopped"},
            "LogConfig": {
                "Type": "json-file",
                "Config": {"max-size": "5242880", "max-file": "3"},
            },
        },
    });
    assert_eq!(without_nulls(body), expected);
}

#[test]
fn a_long_name_becomes_a_host_name_that_linux_takes() {
    let name = format!("nodered-{}-tail", "a".repeat(54));
    assert_eq!(host_name(&name), format!("nodered-{}", "a".repeat(54)));
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        other => other,
    }
}
