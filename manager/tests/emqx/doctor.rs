//! `openflow doctor` as an operator runs it, on EMQX well and badly set up.
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};
use url::Url;

use crate::fake::{FakeEmqx, KEY};

const HOOK_SECRET: &str = "the-hook-secret-of-the-test";
const MANAGER_PORT: u16 = 4071;

/// As `emqx/emqx.conf` has it.
pub(crate) fn well_set_up(fake: &FakeEmqx) {
    let authenticator = json!({"id": "password_based:http", "mechanism": "password_based", "backend": "http",
        "enable": true, "method": "post", "url": format!("http://127.0.0.1:{MANAGER_PORT}/mqtt/auth"),
        "headers": {"content-type": "application/json", "x-openflow-hook-secret": HOOK_SECRET},
        "body": {"clientid": "${clientid}", "username": "${username}", "password": "${password}", "peerhost": "${peerhost}"}});
    let listener = json!({"type": "tcp", "bind": "0.0.0.0:1883", "enable": true, "zone": "default",
        "mountpoint": "${client_attrs.tenant}", "enable_authn": "quick_deny_anonymous"});
    let listeners = json!([{"id": "tcp:default", "enable": true}, {"id": "ws:default", "enable": true},
        {"id": "ssl:default", "enable": false}]);
    let zone = json!({"mqtt": {"clientid_override": "concat([username, ':', clientid])"}});
    let settings = [
        (
            "/nodes",
            json!([{"node": "emqx@127.0.0.1", "version": "5.8.9", "node_status": "running"}]),
        ),
        ("/authentication", json!([authenticator])),
        (
            "/authentication/password_based%3Ahttp/status",
            json!({"status": "connected", "node_status": []}),
        ),
        (
            "/authorization/settings",
            json!({"no_match": "allow", "deny_action": "ignore"}),
        ),
        ("/authorization/sources", json!({"sources": []})),
        ("/configs/global_zone", zone),
        ("/listeners", listeners),
        ("/listeners/tcp%3Adefault", listener.clone()),
        ("/listeners/ws%3Adefault", listener),
    ];
    let settings = settings.into_iter().map(|(path, it)| (path.to_owned(), it));
    fake.inside().settings = settings.collect();
}

/// The findings about the broker.
pub(crate) async fn doctor(variables: &[(&str, &str)]) -> Vec<Value> {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_openflow"))
        .args(["doctor", "--json"])
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("OPENFLOW_DATA_DIR", data.path())
        .env("OPENFLOW_HOOK_SECRET", HOOK_SECRET)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output();
    let output = output.await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(HOOK_SECRET) && !text.contains(KEY), "{text}");
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    let about = |it: &Value| it["check"] == "emqx" || it["check"] == "mqtt";
    all.into_iter().filter(about).collect()
}

async fn doctor_of(api: &Url, key: &str) -> Vec<Value> {
    let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mqtt = format!("mqtt://{}", broker.local_addr().unwrap());
    let variables = [
        ("OPENFLOW_EMQX_URL", api.as_str()),
        ("OPENFLOW_EMQX_API_KEY", key),
        ("OPENFLOW_MQTT_URL", &mqtt),
    ];
    doctor(&variables).await
}

#[tokio::test]
async fn a_well_set_up_emqx_passes_every_check() {
    let fake = FakeEmqx::default();
    well_set_up(&fake);
    let findings = doctor_of(&fake.start().await, KEY).await;
    assert!(
        findings.iter().all(|it| it["verdict"] == "ok"),
        "{findings:#?}"
    );
    // Broker, version, authenticator, hook, two of authorization, ids, two listeners.
    assert_eq!(findings.len(), 9, "{findings:#?}");
}

/// A path of the API, what is changed in its answer and to what, the verdict,
/// and what the advice says.
type Fault = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const FAULTS: &[Fault] = &[
    ("/nodes", "/0/version", r#""5.8.2""#, "fail", "5.8.9"),
    ("/nodes", "/0/version", r#""5.10.4""#, "warn", "5.8.9"),
    ("/nodes", "/0/version", r#""6.2.2-beta.1""#, "warn", "5.8.9"),
    ("/nodes", "/0/version", r#""?""#, "warn", ""),
    ("/authentication", "", "[]", "fail", "emqx.conf"),
    ("/authentication", "/0/backend", r#""redis""#, "fail", "emqx.conf"),
    ("/authentication", "/0/enable", "false", "fail", "enable = true"),
    ("/authentication", "/0/method", r#""get""#, "fail", "method = post"),
    ("/authentication", "/0/url", r#""http://127.0.0.1:4071/auth""#, "fail", "/mqtt/auth"),
    ("/authentication", "/0/url", r#""http://127.0.0.1:4070/mqtt/auth""#, "warn", ":4071/mqtt/auth"),
    ("/authentication", "/0/body/clientid", r#""${username}""#, "fail", "clientid = \"${clientid}\""),
    ("/authentication", "/0/body", "{}", "fail", "password = \"${password}\""),
    ("/authentication", "/0/body/peerhost", "null", "warn", "peerhost"),
    ("/authentication", "/0/headers", r#"{"content-type": "application/json"}"#, "fail", "x-openflow-hook-secret"),
    ("/authentication", "/0/headers/x-openflow-hook-secret", r#""another""#, "fail", "OPENFLOW_HOOK_SECRET"),
    ("/authentication", "/0/headers/content-type", r#""text/plain""#, "fail", "application/json"),
    ("/authentication/password_based%3Ahttp/status", "/status", r#""disconnected""#, "fail", "manager"),
    ("/authorization/settings", "/no_match", r#""deny""#, "fail", "no_match = allow"),
    ("/authorization/sources", "/sources", r#"[{"type": "file", "enable": true}]"#, "warn", "sources = []"),
    ("/configs/global_zone", "/mqtt/clientid_override", r#""disabled""#, "fail", "mqtt.clientid_override = "),
    ("/listeners", "", "[]", "fail", "mountpoint"),
    ("/listeners/ws%3Adefault", "/mountpoint", r#""""#, "fail", "mountpoint = \"${client_attrs.tenant}\""),
    ("/listeners/tcp%3Adefault", "/enable_authn", "false", "fail", "quick_deny_anonymous"),
];

#[tokio::test]
async fn each_fault_is_found_with_what_to_write() {
    let fake = FakeEmqx::default();
    let api = fake.start().await;
    for (path, pointer, value, verdict, advice) in FAULTS.iter().copied() {
        well_set_up(&fake);
        fake.set(path, pointer, serde_json::from_str(value).unwrap());
        let findings = doctor_of(&api, KEY).await;
        let bad: Vec<&Value> = findings.iter().filter(|it| it["verdict"] != "ok").collect();
        let [bad] = bad.as_slice() else {
            panic!("{path}{pointer}: {bad:#?}")
        };
        assert_eq!(bad["verdict"], verdict, "{path}{pointer}: {bad:#}");
        let text = bad["advice"].as_str().unwrap_or_default();
        assert!(text.contains(advice), "{path}{pointer}: {bad:#}");
    }
}

#[tokio::test]
async fn the_hook_is_the_only_authenticator_and_its_secret_may_be_hidden() {
    let fake = FakeEmqx::default();
    let api = fake.start().await;
    // A second one beside it.
    well_set_up(&fake);
    let second = json!({"id": "password_based:built_in_database", "mechanism": "password_based", "backend": "built_in_database"});
    let hook = fake.inside().settings["/authentication"][0].clone();
    fake.set("/authentication", "", json!([hook, second]));
    let findings = doctor_of(&api, KEY).await;
    let bad: Vec<&Value> = findings
        .iter()
        .filter(|it| it["verdict"] == "fail")
        .collect();
    assert_eq!(bad.len(), 1, "{findings:#?}");
    assert!(
        bad[0]["detail"]
            .as_str()
            .unwrap()
            .contains("built_in_database")
    );
    // Secrets that EMQX hides are taken for right.
    well_set_up(&fake);
    let header = "/0/headers/x-openflow-hook-secret";
    fake.set("/authentication", header, json!("******"));
    let findings = doctor_of(&api, KEY).await;
    assert!(
        findings.iter().all(|it| it["verdict"] == "ok"),
        "{findings:#?}"
    );
}

#[tokio::test]
async fn what_cannot_be_checked_is_said_with_how_it_can() {
    let fake = FakeEmqx::default();
    let api = fake.start().await;
    let findings = doctor_of(&api, "openflow:wrong").await;
    let bad = findings.iter().find(|it| it["check"] == "emqx").unwrap();
    assert_eq!(bad["verdict"], "fail");
    assert!(
        bad["detail"]
            .as_str()
            .unwrap()
            .contains("OPENFLOW_EMQX_API_KEY"),
        "{bad:#}"
    );
    // No key at all, and no broker either.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mqtt = format!("mqtt://127.0.0.1:{port}");
    let findings = doctor(&[
        ("OPENFLOW_MQTT_BROKER", "emqx"),
        ("OPENFLOW_MQTT_URL", &mqtt),
    ])
    .await;
    let verdicts: Vec<&Value> = findings.iter().map(|it| &it["verdict"]).collect();
    assert_eq!(verdicts, ["fail", "warn"], "{findings:#?}");
    let advice = findings[1]["advice"].as_str().unwrap();
    assert!(
        advice.contains("OPENFLOW_EMQX_URL") && advice.contains("bootstrap_file"),
        "{advice}"
    );
    // A version that does not know what it is asked.
    fake.inside().settings.insert(
        "/nodes".to_owned(),
        json!([{"node": "n", "version": "5.8.9"}]),
    );
    let findings = doctor_of(&api, KEY).await;
    assert!(
        findings.iter().all(|it| it["verdict"] != "fail"),
        "{findings:#?}"
    );
    let warnings = findings.iter().filter(|it| it["verdict"] == "warn");
    assert_eq!(warnings.count(), 5, "{findings:#?}");
}

#[tokio::test]
async fn the_built_in_broker_needs_ports_and_a_certificate() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = holder.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    let address = taken.to_string();
    let variables = [
        ("OPENFLOW_MQTT_LISTEN", address.as_str()),
        ("OPENFLOW_MQTT_LISTEN_TLS", "127.0.0.1:0"),
        ("OPENFLOW_MQTT_LISTEN_WS", "127.0.0.1:0"),
        ("OPENFLOW_TLS_DIR", folder),
    ];
    let free = [
        ("OPENFLOW_MQTT_LISTEN", "127.0.0.1:0"),
        variables[1],
        variables[2],
        variables[3],
    ];
    let findings = doctor(&free).await;
    let verdicts: Vec<&Value> = findings.iter().map(|it| &it["verdict"]).collect();
    assert_eq!(verdicts, ["ok", "ok", "ok", "fail"], "{findings:#?}");
    for name in ["a.crt", "a.key"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let findings = doctor(&variables).await;
    assert_eq!(findings[0]["verdict"], "fail", "{findings:#?}");
    assert!(
        findings[0]["detail"]
            .as_str()
            .unwrap()
            .contains("OPENFLOW_MQTT_LISTEN")
    );
    assert!(
        findings[1..].iter().all(|it| it["verdict"] == "ok"),
        "{findings:#?}"
    );
    let findings = doctor(&[("OPENFLOW_MQTT_BROKER", "none")]).await;
    assert_eq!(findings.len(), 1);
}
