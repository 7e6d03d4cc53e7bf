use serde_json::json;

use super::*;

fn inspect(state: serde_json::Value) -> ContainerInspectResponse {
    serde_json::from_value(json!({
        "Id": "c1",
        "Name": "/nodered-wf1",
        "RestartCount": 3,
        "State": state,
        "Config": {"Labels": {
            LABEL_INSTANCE: "0198c0de-0000-7000-8000-000000000001",
            LABEL_SPEC: "abc",
        }},
        "NetworkSettings": {"Networks": {"openflow-network": {
            "IPAddress": "172.30.0.5", "NetworkID": "net1",
        }}},
    }))
    .unwrap()
}

#[test]
fn a_running_container_has_an_address_and_no_exit_code() {
    let inspect = inspect(json!({
        "Status": "running", "Running": true, "ExitCode": 0, "OOMKilled": false,
        "StartedAt": "2026-01-02T03:04:05.123456789Z", "FinishedAt": "0001-01-01T00:00:00Z",
    }));
    let observed = observed(&inspect, "openflow-network", Some("net1")).unwrap();
    assert_eq!(observed.name, "nodered-wf1");
    assert_eq!(observed.spec_hash, "abc");
    assert_eq!(observed.state, ContainerState::Running);
    assert_eq!(observed.address, "172.30.0.5".parse().ok());
    assert_eq!(observed.exit_code, None);
    assert_eq!(observed.restart_count, 3);
    assert!(observed.started_at.is_some());
    assert_eq!(observed.finished_at, None);
}

#[test]
fn every_state_of_the_engine_has_one_of_ours() {
    let cases = [
        ("created", ContainerState::Created, false, None),
        ("running", ContainerState::Running, true, None),
        ("stopping", ContainerState::Running, true, None),
        ("paused", ContainerState::Paused, true, None),
        ("restarting", ContainerState::Restarting, false, Some(137)),
        ("exited", ContainerState::Exited, false, Some(137)),
        ("removing", ContainerState::Dead, false, Some(137)),
        ("dead", ContainerState::Dead, false, Some(137)),
    ];
    for (status, expected, has_address, exit_code) in cases {
        let inspect = inspect(json!({"Status": status, "ExitCode": 137, "OOMKilled": true}));
        let observed = observed(&inspect, "openflow-network", Some("net1")).unwrap();
        assert_eq!(observed.state, expected, "{status}");
        assert_eq!(observed.address.is_some(), has_address, "{status}");
        assert_eq!(observed.exit_code, exit_code, "{status}");
        assert!(observed.oom_killed);
    }
}

#[test]
fn a_stopped_container_of_a_network_that_is_gone_is_dead() {
    for (status, expected) in [
        ("exited", ContainerState::Dead),
        ("running", ContainerState::Running),
    ] {
        let inspect = inspect(json!({"Status": status}));
        let observed = observed(&inspect, "openflow-network", Some("net2")).unwrap();
        assert_eq!(observed.state, expected);
    }
}

#[test]
fn what_has_no_instance_label_is_nobody() {
    let mut inspect = inspect(json!({"Status": "running"}));
    inspect.config.as_mut().unwrap().labels = None;
    assert_eq!(observed(&inspect, "openflow-network", None), None);
}

#[test]
fn a_list_entry_serves_where_details_are_missing() {
    let summary: ContainerSummary = serde_json::from_value(json!({
        "Id": "c1", "Names": ["/nodered-wf1"], "State": "running",
        "Labels": {LABEL_INSTANCE: "0198c0de-0000-7000-8000-000000000001", LABEL_SPEC: "abc"},
        "NetworkSettings": {"Networks": {"n": {"IPAddress": "10.0.0.2"}}},
    }))
    .unwrap();
    let observed = observed_roughly(&summary, "n").unwrap();
    assert_eq!(observed.state, ContainerState::Running);
    assert_eq!(observed.address, "10.0.0.2".parse().ok());
    assert_eq!(observed.spec_hash, "abc");
}

#[test]
fn events_name_the_instance_and_how_it_died() {
    let id: InstanceId = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
    let message = |action: &str| -> EventMessage {
        serde_json::from_value(json!({
            "Type": "container", "Action": action,
            "Actor": {"ID": "c1", "Attributes": {LABEL_INSTANCE: id.to_string(), "exitCode": "137"}},
        }))
        .unwrap()
    };
    let died = RuntimeEvent::Died {
        instance: id,
        exit_code: 137,
    };
    assert_eq!(event(&message("die")), Some(died));
    assert_eq!(event(&message("start")), Some(RuntimeEvent::Instance(id)));
    assert_eq!(event(&message("exec_create: sh -c ls")), None);
}

#[test]
fn memory_is_without_the_reclaimable_cache_on_both_cgroup_versions() {
    let cases = [
        json!({"total_inactive_file": 30, "inactive_file": 10}),
        json!({"inactive_file": 30}),
    ];
    for details in cases {
        let sample: ContainerStatsResponse = serde_json::from_value(json!({
            "memory_stats": {"usage": 100, "limit": 1000, "stats": details},
            "pids_stats": {"current": 7},
            "networks": {"eth0": {"rx_bytes": 5, "tx_bytes": 6}, "eth1": {"rx_bytes": 1}},
        }))
        .unwrap();
        let expected = Stats {
            cpu_percent: 0.0,
            memory_bytes: 70,
            memory_limit_bytes: 1000,
            network_rx_bytes: 6,
            network_tx_bytes: 6,
            pids: 7,
        };
        assert_eq!(stats(&sample), expected);
    }
}

#[test]
fn cpu_percent_is_of_one_core_between_two_samples_of_one_run() {
    let at = |seconds: i64, used_ns: u64| CpuSample {
        used_ns,
        read_at: DateTime::from_timestamp(seconds, 0).unwrap(),
    };
    let half = at(12, 1_500_000_000).percent_since(at(10, 500_000_000));
    assert_eq!(half, Some(50.0));
    assert_eq!(at(10, 5).percent_since(at(10, 0)), None);
    assert_eq!(at(12, 5).percent_since(at(10, 9)), None, "restarted");
    let stopped: ContainerStatsResponse = serde_json::from_value(json!({
        "read": "0001-01-01T00:00:00Z", "cpu_stats": {"cpu_usage": {"total_usage": 0}},
    }))
    .unwrap();
    assert_eq!(cpu_sample(&stopped), None);
}
