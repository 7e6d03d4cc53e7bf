//! The disk gets full while a backup or a restore is under way, after it was
//! found to have room. The test runs once more by itself, in a namespace where
//! its data folder is a small file system of its own: no privilege is needed,
//! and nothing is left to unmount.
use std::{
    env, fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use openflow_manager::identity::SignInRates;
use serde_json::Value;
use sqlx::PgPool;

use super::bench::{QUIET, WithBackups as _, noise};
use crate::support::{
    TestApp,
    instances::{Bench, It, eventually},
};

const SMALL_DISK: &str = "OPENFLOW_TEST_SMALL_DISK";
/// Mounts a small file system at `$0` and runs the rest as an ordinary user
/// of a further namespace, who can give files to himself alone.
const SCRIPT: &str = r#"mount -t tmpfs -o size=96m,mode=0700 tmpfs "$0" &&
    exec unshare --user --map-user=1000 --map-group=1000 "$@""#;
/// Once as data, once as a backup, once unpacked: that fits.
const NOISE_BYTES: usize = 24 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_disk_that_gets_full_in_the_middle_leaves_all_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let test = "full::on_a_small_disk";
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
#[ignore = "run by a_disk_that_gets_full_in_the_middle_leaves_all_as_it_was"]
async fn on_a_small_disk(pool: PgPool) {
    let Some(disk) = env::var_os(SMALL_DISK) else {
        return;
    };
    let data = tempfile::tempdir_in(&disk).unwrap();
    let t = TestApp::with_data(pool, SignInRates::DEFAULT, Arc::default(), &QUIET, data).await;
    let bench = Bench::of(t).await;
    let it = bench.running("shop").await;
    let content = noise(NOISE_BYTES);
    bench.write(&it, "noise", &content);
    let filler = Path::new(&disk).join("filler");

    let folder = bench.backup_folder(&it);
    let full = fill_when(filler.clone(), move || begins(&folder, "", ".partial"));
    let id = bench.ask_backup(&it).await;
    let backup = bench.ended(id).await;
    full.join().unwrap();
    assert_eq!(backup["status"], "failed", "{backup:#}");
    says_that_it_is_full(&backup);
    assert_eq!(backup["sizeBytes"], Value::Null);
    nothing_is_left(&bench, &it).await;
    assert!(bench.files_of(&it).is_empty());
    as_before(&bench, &it, &content).await;

    fs::remove_file(&filler).unwrap();
    let id = bench.good(&it).await;
    bench.write(&it, "mark", "not in the backup");
    let folder = bench.folder(&it).parent().unwrap().to_owned();
    let full = fill_when(filler.clone(), move || begins(&folder, ".restore-", ""));
    let restore = bench.try_restore(id, Value::Null).await.expect(202);
    let restore = bench.restored(&restore).await;
    full.join().unwrap();
    assert_eq!(restore["state"], "failed", "{restore:#}");
    says_that_it_is_full(&restore);
    nothing_is_left(&bench, &it).await;
    as_before(&bench, &it, &content).await;
    assert_eq!(bench.read(&it, "mark").unwrap(), b"not in the backup");

    fs::remove_file(&filler).unwrap();
    let restore = bench.try_restore(id, Value::Null).await.expect(202);
    bench.is_done(&restore).await;
    as_before(&bench, &it, &content).await;
    assert_eq!(bench.read(&it, "mark"), None);
}

fn says_that_it_is_full(view: &Value) {
    let detail = view["detail"].as_str().unwrap();
    assert!(detail.contains("disk is full"), "{detail}");
}

/// No instance was stopped or changed.
async fn as_before(bench: &Bench, it: &It, content: &[u8]) {
    bench.until(it, "running").await;
    assert!(bench.read(it, "noise").unwrap() == content);
}

/// Of what was begun: no part of an archive, no copy, no staged files.
async fn nothing_is_left(bench: &Bench, it: &It) {
    let data = bench.t.data.path();
    let folders = [
        data.join("backups"),
        data.join("instances"),
        bench.backup_folder(it),
    ];
    eventually("nothing is left over", async || {
        let left = |folder: &PathBuf| begins(folder, ".", "") || begins(folder, "", ".partial");
        (!folders.iter().any(left)).then_some(())
    })
    .await;
}

/// Whether there is such a name in the folder.
fn begins(folder: &Path, prefix: &str, suffix: &str) -> bool {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = names.map(|it| it.file_name().into_string().unwrap());
    names.any(|it| it.starts_with(prefix) && it.ends_with(suffix))
}

/// Takes all space that is left as soon as it has begun.
fn fill_when(file: PathBuf, has_begun: impl Fn() -> bool + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let since = Instant::now();
        while !has_begun() {
            assert!(since.elapsed() < PATIENCE, "it never began");
            std::thread::yield_now();
        }
        let mut file = fs::File::create(file).unwrap();
        let piece = vec![0; 1 << 20];
        for piece in [&piece[..], &piece[..4096]] {
            let written = (0..1 << 16).find_map(|_| file.write_all(piece).err());
            assert_eq!(written.unwrap().kind(), ErrorKind::StorageFull);
        }
    })
}
