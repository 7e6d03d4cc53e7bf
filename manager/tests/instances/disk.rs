//! The disk is full. The test runs once more by itself, in a namespace where
//! its data folder is a small file system of its own: no privilege is needed,
//! and nothing is left to unmount.
use std::{env, fs, io::ErrorKind, path::Path, process::Command, sync::Arc};

use openflow_manager::identity::SignInRates;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{TestApp, instances::Bench};

const SMALL_DISK: &str = "OPENFLOW_TEST_SMALL_DISK";
/// Mounts a small file system at `$0` and runs the rest as an ordinary user
/// of a further namespace, who can give files to himself alone.
const SCRIPT: &str = r#"mount -t tmpfs -o size=256k,mode=0700 tmpfs "$0" &&
    exec unshare --user --map-user=1000 --map-group=1000 "$@""#;

#[test]
fn a_full_disk_is_named_and_an_instance_heals_when_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let test = "disk::on_a_small_disk";
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT])
        .arg(folder.path())
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(SMALL_DISK, folder.path())
        .status()
        .unwrap();
    assert!(
        status.success(),
        "{test} failed, or this machine has no unprivileged user namespaces"
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
#[ignore = "run by a_full_disk_is_named_and_an_instance_heals_when_there_is_space"]
async fn on_a_small_disk(pool: PgPool) {
    let Some(disk) = env::var_os(SMALL_DISK) else {
        return;
    };
    let data = tempfile::tempdir_in(&disk).unwrap();
    let t = TestApp::with_data(pool, SignInRates::DEFAULT, Arc::default(), &[], data).await;
    let bench = Bench::of(t).await;
    let stack = bench.get("/api/v1/stacks").await.expect(200)["items"][0]["id"].clone();
    let root = bench.t.admin("Root").await;
    let flows = json!([{"id": "1", "type": "comment", "info": "x".repeat(50_000)}]);
    let template = json!({"name": "Big", "stackId": stack, "flows": flows});
    let made = bench
        .t
        .post("/api/v1/templates", &root.who, template)
        .await
        .expect(201);
    let old = bench.running("wf1").await;

    let filler = Path::new(&disk).join("filler");
    fill(&filler);
    let more = json!({"template": made["id"]});
    let it = bench.create_with("wf2", more).await;
    let view = bench.until(&it, "failed").await;
    let detail = view["statusDetail"].as_str().unwrap();
    assert!(detail.contains("disk is full"), "{detail}");
    // Nothing half made is left, and those who have their folder go on.
    assert!(!bench.folder(&it).exists());
    let folders = fs::read_dir(bench.folder(&it).parent().unwrap()).unwrap();
    assert_eq!(folders.count(), 1);
    bench.ask(&old, "restart", "running").await;
    // It can be deleted as it is.
    let other = bench
        .create_with("wf3", json!({"template": made["id"]}))
        .await;
    bench.until(&other, "failed").await;
    bench
        .call("DELETE", &other.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(&other).await;

    fs::remove_file(filler).unwrap();
    bench.until(&it, "running").await;
    let written = fs::read(bench.folder(&it).join("flows.json")).unwrap();
    let nodes = serde_json::from_slice::<Value>(&written).unwrap();
    assert_eq!(nodes[0], flows[0]);
    assert_eq!(nodes[1]["id"], "openflow-broker");
}

/// Writes until there is no space left.
fn fill(file: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(file).unwrap();
    let written = (0..1 << 20).find_map(|_| file.write_all(&[0; 4096]).err());
    assert_eq!(written.unwrap().kind(), ErrorKind::StorageFull);
}
