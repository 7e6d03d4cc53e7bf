//! What a container may, seen from inside and from the engine.
use openflow_manager::runtime::Runtime as _;

use crate::support::*;

#[tokio::test]
async fn a_container_has_no_rights_beyond_its_folder() {
    let host = Host::new().await;
    let spec = host.spec();
    host.running(&spec).await;
    let inside = |script: &str| docker_try(&["exec", &spec.name, "sh", "-c", script]);

    assert_eq!(inside("id -u; id -g").unwrap(), "1000\n1000");
    for refused in [
        "touch /x",
        "touch /www/x",
        "chmod 777 /bin/sh",
        "mount -t tmpfs x /data",
    ] {
        assert!(inside(refused).is_err(), "{refused}");
    }
    inside("echo mine > /data/file && cat /data/file").unwrap();
    inside("echo t > /tmp/file").unwrap();
    inside("cp /bin/busybox /tmp/b; chmod 755 /tmp/b; ! /tmp/b true").unwrap();
    assert!(inside("head -c 2000000 /dev/zero > /tmp/big").is_err());
    let status = inside("cat /proc/1/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|it| it.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!(
        (field("NoNewPrivs"), field("Seccomp")),
        ("1".into(), "2".into())
    );
    assert!(inside("ulimit -c").unwrap() == "0");
    let hosts = inside("cat /etc/hosts").unwrap();
    let network = host.runtime.ensure_network().await.unwrap();
    let gateway = format!("{}\thost.docker.internal", network.gateways[0]);
    assert!(hosts.contains(&gateway), "{hosts}");
    assert_eq!(inside("hostname").unwrap(), spec.name);
    let forks = "for i in $(seq 64); do sleep 20 & done";
    let forked = inside(forks).unwrap_err();
    assert!(forked.contains("fork"), "{forked}");
    let exec = ["exec", &spec.name, "true"];
    eventually("able to fork again", async || docker_try(&exec).ok()).await;
}

#[tokio::test]
async fn the_engine_keeps_the_limits_it_was_told() {
    let host = Host::new().await;
    let spec = host.spec();
    host.runtime.create(&spec).await.unwrap();
    let format = "{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.NanoCpus}} {{.PidsLimit}} \
                  {{.ReadonlyRootfs}} {{.CapDrop}} {{.SecurityOpt}} {{.Privileged}} \
                  {{.NetworkMode}} {{.RestartPolicy.Name}} {{.IpcMode}} {{.PidMode}} \
                  {{.LogConfig.Type}} {{.CgroupnsMode}}{{end}}";
    let expected = "67108864 67108864 500000000 32 true [ALL] [no-new-privileges:true] false \
                    openflow-test unless-stopped private  json-file private";
    assert_eq!(docker(&["inspect", "-f", format, &spec.name]), expected);
    let mounts = docker(&["inspect", "-f", "{{json .Mounts}}", &spec.name]);
    let mounts: serde_json::Value = serde_json::from_str(&mounts).unwrap();
    assert_eq!(mounts.as_array().unwrap().len(), 1, "{mounts}");
    assert_eq!(mounts[0]["Destination"], "/data");
    assert_eq!(mounts[0]["Propagation"], "rprivate");
}
