//! Archives from outside: used when they are ours, refused when they are not.
use std::{fs, io::Write as _, path::Path};

use axum::body::Body;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::bench::{QUIET, WithBackups as _, archive_of, archive_saying, id_of, noise, quiet};
use crate::support::{
    Answer,
    instances::{Bench, It},
};

async fn upload(bench: &Bench, it: &It, file: Vec<u8>) -> Answer {
    let path = it.path("backups/upload");
    let headers = [("content-type", "application/gzip")];
    let call = ("POST", &*path);
    bench.t.raw(call, &bench.ada.who, &headers, file).await.0
}

/// The archive of one good backup.
async fn archive(bench: &Bench, it: &It) -> Vec<u8> {
    bench.good(it).await;
    fs::read(bench.backup_folder(it).join(&bench.files_of(it)[0])).unwrap()
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_downloaded_file_comes_back_and_is_restored(pool: PgPool) {
    let bench = quiet(pool).await;
    let (from, to) = (bench.running("dev").await, bench.running("prod").await);
    bench.write(&from, "marker", "dev");
    let before = super::bench::credentials(&bench, &from);
    let file = archive(&bench, &from).await;
    bench
        .call("DELETE", &from.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(&from).await;
    let backup = upload(&bench, &to, file.clone()).await.expect(201);
    assert_eq!(backup["trigger"], "upload");
    assert_eq!(backup["status"], "good");
    assert_eq!(backup["instanceId"], to.id.to_string());
    assert_eq!(backup["sizeBytes"], file.len());
    assert_eq!(backup["verification"]["status"], "good");
    let name = bench.files_of(&to).remove(0);
    assert_eq!(fs::read(bench.backup_folder(&to).join(name)).unwrap(), file);
    let restore = bench
        .try_restore(id_of(&backup), Value::Null)
        .await
        .expect(202);
    bench.is_done(&restore).await;
    assert_eq!(bench.read(&to, "marker").unwrap(), b"dev");
    assert_eq!(super::bench::credentials(&bench, &to), before);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_of_a_foreign_project_is_refused_while_that_is_here(pool: PgPool) {
    let bench = quiet(pool).await;
    let from = bench.running("theirs").await;
    let file = archive(&bench, &from).await;
    let mallory = bench.t.person("Mallory").await;
    let own = bench.t.project(&mallory).await;
    let path = format!("/api/v1/projects/{own}/instances");
    let body = json!({"name": "mine", "subdomain": "mine"});
    let made = bench.t.post(&path, &mallory.who, body).await.expect(201);
    let it = It::of(&made);
    let send = async || {
        let path = it.path("backups/upload");
        let headers = [("content-type", "application/gzip")];
        let call = ("POST", &*path);
        bench
            .t
            .raw(call, &mallory.who, &headers, file.clone())
            .await
            .0
    };
    let refused = (403, "backup.foreign_project");
    assert_eq!(send().await.refusal(), refused);
    // To download it takes a member, too.
    bench.t.add_member(bench.project, &mallory, "viewer").await;
    assert_eq!(send().await.refusal(), refused);
    assert!(bench.files_of(&it).is_empty());
    sqlx::query("update project_members set role = 'member' where user_id = $1")
        .bind(mallory.id)
        .execute(&bench.t.pool)
        .await
        .unwrap();
    send().await.expect(201);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_project_in_a_manifest_cannot_be_exchanged(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.good(&it).await;
    let about: Value = sqlx::query_scalar("select about from backups")
        .fetch_one(&bench.t.pool)
        .await
        .unwrap();
    upload(&bench, &it, archive_saying(&about))
        .await
        .expect(201);
    let mut forged = about.clone();
    forged["projectId"] = json!(uuid::Uuid::now_v7());
    let answer = upload(&bench, &it, archive_saying(&forged)).await;
    assert_eq!(answer.refusal(), (409, "backup.wrong_key"));
}

/// From a file system with room for many attributes to one with room for few.
#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn attributes_that_the_file_system_does_not_take_are_said(pool: PgPool) {
    use rustix::fs::{XattrFlags, setxattr};
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.good(&it).await;
    let about: Value = sqlx::query_scalar("select about from backups")
        .fetch_one(&bench.t.pool)
        .await
        .unwrap();
    let set = |path: &Path| {
        fs::write(path, "content").unwrap();
        (0..60)
            .all(|n| setxattr(path, format!("user.{n}"), &[7; 1000], XattrFlags::empty()).is_ok())
    };
    let mut had = false;
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = archive_of(place, &about, |data| had = set(&data.join("marker")));
    let here = bench.t.data.path().join("tried");
    if !had || set(&here) {
        return; // this host has no two such file systems
    }
    let backup = upload(&bench, &it, file).await.expect(201);
    let restore = bench.try_restore(id_of(&backup), Value::Null).await;
    let restore = bench.restored(&restore.expect(202)).await;
    assert_eq!(restore["state"], "done", "{restore:#}");
    assert_eq!(bench.read(&it, "marker").unwrap(), b"content");
    let detail = restore["detail"].as_str().unwrap();
    assert!(
        detail.contains("not taken by the file system (user."),
        "{detail}"
    );
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A tar of entries as they are said, with a manifest that says so little.
fn tar_of(entries: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (kind, name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        // Past the checks of the library, which would not write them.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        if kind.is_symlink() || kind.is_hard_link() {
            header.set_size(0);
            header.set_link_name_literal(content).unwrap();
            header.set_cksum();
            tar.append(&header, std::io::empty()).unwrap();
        } else {
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.append(&header, content.as_bytes()).unwrap();
        }
    }
    gzip(&tar.into_inner().unwrap())
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_is_no_backup_of_ours_is_refused_and_leaves_nothing(pool: PgPool) {
    use tar::EntryType as T;
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let whole = archive(&bench, &it).await;
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let manifest = r#"{"version":1,"createdAt":0,"about":{},"files":0,"bytes":0,"entries":[]}"#;
    let cases = [
        ("empty", Vec::new()),
        ("text", b"hello".to_vec()),
        ("gzip of text", gzip(b"hello")),
        ("cut short", whole[..whole.len() - 100].to_vec()),
        ("a flipped bit", flipped),
        ("no manifest", tar_of(&[(T::Regular, "data/a", "x")])),
        (
            "a lying manifest",
            tar_of(&[(T::Regular, "manifest.json", manifest)]),
        ),
        (
            "up and out",
            tar_of(&[(T::Regular, "data/../../../etc/x", "x")]),
        ),
        ("absolute", tar_of(&[(T::Regular, "/etc/x", "x")])),
        (
            "a link out",
            tar_of(&[(T::Symlink, "data/x", "/etc/passwd")]),
        ),
        (
            "a hard link out",
            tar_of(&[(T::Link, "data/x", "/etc/passwd")]),
        ),
        ("a device", tar_of(&[(T::Char, "data/x", "")])),
        (
            "something after it",
            [whole.clone(), gzip(b"more")].concat(),
        ),
    ];
    for (what, file) in cases {
        let answer = upload(&bench, &it, file).await;
        assert_eq!(
            answer.refusal(),
            (422, "backup.refused"),
            "{what}: {}",
            answer.json
        );
    }
    assert_eq!(bench.backups_of(&it).await.len(), 1);
    assert_eq!(bench.files_of(&it).len(), 1, "{:?}", bench.files_of(&it));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_archive_of_another_kind_is_refused(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    for (about, words) in [
        (json!(null), "does not say"),
        (json!({"format": "something"}), "does not say"),
        (
            json!({"format": "openflow-backup", "version": 2}),
            "newer version",
        ),
        (
            json!({"format": "openflow-backup", "version": 1}),
            "not understood",
        ),
    ] {
        let answer = upload(&bench, &it, archive_saying(&about)).await;
        assert_eq!(answer.refusal(), (422, "backup.refused"), "{about}");
        let said = answer.json["detail"].as_str().unwrap();
        assert!(said.contains(words), "{about}: {said}");
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn more_than_the_limit_is_refused(pool: PgPool) {
    let mut flags = QUIET.to_vec();
    flags.push("--max-backup-upload-mb=1");
    let bench = Bench::with_flags(pool, &flags).await;
    let it = bench.running("shop").await;
    let answer = upload(&bench, &it, vec![0; (1 << 20) + 1]).await;
    assert_eq!(answer.refusal(), (413, "backup.too_large"));
    assert!(bench.files_of(&it).is_empty());
    // Nor when the length is not said before.
    let path = it.path("backups/upload");
    let pieces = (0..3).map(|_| Ok::<_, std::io::Error>(vec![0; 512 << 10]));
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let answer = bench.t.stream_to(&path, &bench.ada.who, body).await;
    assert_eq!(answer.refusal(), (413, "backup.too_large"));
    assert!(bench.files_of(&it).is_empty());
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_file_may_be_larger_than_other_requests(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    bench.write(&it, "noise", noise(5 << 20));
    let file = archive(&bench, &it).await;
    assert!(5 << 20 <= file.len());
    upload(&bench, &it, file).await.expect(201);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_upload_that_breaks_off_leaves_nothing(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    let gone = std::io::Error::other("the connection is gone");
    let pieces = [Ok(vec![0x1f, 0x8b]), Err(gone)];
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let path = it.path("backups/upload");
    let answer = bench.t.stream_to(&path, &bench.ada.who, body).await;
    assert_eq!(answer.refusal(), (422, "backup.upload_broken"));
    assert!(bench.files_of(&it).is_empty());
}
