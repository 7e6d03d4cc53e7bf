//! Copies of backups in a bucket, on a real S3 server.
use std::fs;

use openflow_manager::offsite::Offsite;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::bench::{QUIET, WithBackups as _, path_of};
use crate::{
    s3::{self, Relay},
    support::instances::{Bench, It, eventually},
};

pub(crate) async fn bench(pool: PgPool, bucket: &s3::Bucket, more: &[&str]) -> Bench {
    let url = format!("--offsite-url=s3://{}/some/folder", bucket.name);
    let endpoint = format!("--offsite-endpoint=http://{}", s3::server());
    let mut flags = QUIET.to_vec();
    flags.extend(["--offsite-access-key=key", "--offsite-secret-key=s"]);
    for default in [&url, &endpoint] {
        let (name, _) = default.split_once('=').unwrap();
        if !more.iter().any(|it| it.starts_with(name)) {
            flags.push(default);
        }
    }
    flags.extend(more);
    Bench::with_flags(pool, &flags).await
}

pub(crate) async fn until_copied(bench: &Bench, id: Uuid, status: &str) -> Value {
    eventually("the copy is there", async || {
        let it = bench.backup(id).await;
        (it["offsite"]["status"] == status).then_some(it)
    })
    .await
}

async fn keys(offsite: &Offsite) -> Vec<String> {
    let listed = offsite.list("").await.unwrap();
    let mut keys: Vec<String> = listed.into_iter().map(|it| it.key).collect();
    keys.sort();
    keys
}

async fn delete(bench: &Bench, id: Uuid) {
    let deleted = bench.call("DELETE", &path_of(id, ""), Value::Null).await;
    deleted.expect(204);
}

/// A backup was made so many days earlier.
async fn age(bench: &Bench, id: Uuid, days: i32) {
    sqlx::query("update backups set created_at = created_at - $2 * interval '1 day' where id = $1")
        .bind(id)
        .bind(days)
        .execute(&bench.t.pool)
        .await
        .unwrap();
}

fn local(bench: &Bench, it: &It) -> std::path::PathBuf {
    bench.backup_folder(it).join(&bench.files_of(it)[0])
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_good_backup_is_copied_and_its_copy_goes_with_it(pool: PgPool) {
    let bucket = s3::Bucket::new().await;
    let bench = bench(pool, &bucket, &[]).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    let backup = until_copied(&bench, id, "done").await;
    assert!(backup["offsite"]["at"].is_string(), "{backup:#}");
    let name = &bench.files_of(&it)[0];
    let offsite = bucket.offsite();
    assert_eq!(keys(&offsite).await, [format!("{}/{name}", it.id)]);
    let back = bucket.path("back");
    let key = format!("{}/{name}", it.id);
    offsite.get(&key, &back, &mut |_, _| true).await.unwrap();
    assert_eq!(
        fs::read(back).unwrap(),
        fs::read(local(&bench, &it)).unwrap()
    );

    delete(&bench, id).await;
    eventually("its copy is gone", async || {
        keys(&offsite).await.is_empty().then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_file_that_is_gone_here_is_fetched_back_and_restored(pool: PgPool) {
    let bucket = s3::Bucket::new().await;
    let mut bench = bench(pool, &bucket, &[]).await;
    let it = bench.running("shop").await;
    bench.write(&it, "precious", "yes");
    let id = bench.good(&it).await;
    until_copied(&bench, id, "done").await;
    let file = local(&bench, &it);
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    bench.write(&it, "precious", "spoilt");

    // A new leader looks what is there. What has a copy is not lost.
    bench.kill_and_start_anew().await;
    let backup = bench.backup(id).await;
    assert_eq!(backup["status"], "good");
    assert_eq!(backup["archive"], "gone");
    let refused = bench.try_restore(id, Value::Null).await;
    assert_eq!(refused.refusal(), (410, "backup.file_gone"));
    bench
        .post(&path_of(id, "fetch"), Value::Null)
        .await
        .expect(202);
    eventually("the file is back", async || {
        (fs::read(&file).ok()? == bytes).then_some(())
    })
    .await;
    let restore = bench.try_restore(id, Value::Null).await.expect(202);
    bench.is_done(&restore).await;
    assert_eq!(bench.read(&it, "precious").unwrap(), b"yes");
    // Once more is fine, and does nothing.
    bench
        .post(&path_of(id, "fetch"), Value::Null)
        .await
        .expect(202);
}

/// A backup whose file lost a byte, as its verification has found.
async fn damaged(bench: &Bench, it: &It) -> (Uuid, Vec<u8>) {
    let id = bench.good(it).await;
    until_copied(bench, id, "done").await;
    let file = local(bench, it);
    let bytes = fs::read(&file).unwrap();
    let mut spoilt = bytes.clone();
    let at = spoilt.len() / 2;
    spoilt[at] ^= 0xff;
    fs::write(&file, &spoilt).unwrap();
    bench
        .post(&path_of(id, "verify"), Value::Null)
        .await
        .expect(202);
    let backup = eventually("it is found", async || {
        let it = bench.backup(id).await;
        (it["status"] == "failed").then_some(it)
    })
    .await;
    assert_eq!(backup["archive"], "damaged");
    assert_eq!(backup["offsite"]["status"], "done");
    let refused = bench.try_restore(id, Value::Null).await;
    assert_eq!(refused.refusal(), (409, "backup.nothing_in_it"));
    (id, bytes)
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_damaged_file_is_replaced_by_its_copy_and_is_good_again(pool: PgPool) {
    let bucket = s3::Bucket::new().await;
    let bench = bench(pool, &bucket, &[]).await;
    let it = bench.running("shop").await;
    bench.write(&it, "precious", "yes");
    let (id, bytes) = damaged(&bench, &it).await;
    bench.write(&it, "precious", "spoilt");
    let asked = bench.post(&path_of(id, "fetch"), Value::Null).await;
    assert_eq!(asked.expect(202)["offsite"]["fetching"], true);
    let backup = eventually("it is good again", async || {
        let it = bench.backup(id).await;
        (it["status"] == "good").then_some(it)
    })
    .await;
    assert_eq!(backup["archive"], "here");
    assert_eq!(backup["detail"], Value::Null);
    assert_eq!(backup["offsite"]["fetching"], false);
    assert_eq!(backup["verification"]["status"], "good");
    assert_eq!(backup["verification"]["level"], "read");
    assert_eq!(backup["verification"]["detail"], Value::Null);
    assert_eq!(fs::read(local(&bench, &it)).unwrap(), bytes);
    assert_eq!(bench.files_of(&it).len(), 1, "nothing is left beside");
    let restore = bench.try_restore(id, Value::Null).await.expect(202);
    bench.is_done(&restore).await;
    assert_eq!(bench.read(&it, "precious").unwrap(), b"yes");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_copy_that_is_not_the_file_replaces_nothing(pool: PgPool) {
    let bucket = s3::Bucket::new().await;
    let bench = bench(pool, &bucket, &[]).await;
    let it = bench.running("shop").await;
    let (id, _) = damaged(&bench, &it).await;
    // Another file stands where its copy was.
    let offsite = bucket.offsite();
    let key = keys(&offsite).await.remove(0);
    offsite.delete(&key).await.unwrap();
    let (file, spool) = (bucket.file("other", s3::MIB), bucket.path("spool"));
    let upload = openflow_manager::offsite::Upload {
        file: &file,
        spool: &spool,
        key: &key,
        before: None,
    };
    offsite.put(upload, &mut s3::Kept::default()).await.unwrap();
    let before = fs::read(local(&bench, &it)).unwrap();
    bench
        .post(&path_of(id, "fetch"), Value::Null)
        .await
        .expect(202);
    let backup = eventually("it is over", async || {
        let it = bench.backup(id).await;
        (it["offsite"]["fetching"] == false).then_some(it)
    })
    .await;
    assert_eq!(backup["status"], "failed");
    let why = backup["offsite"]["detail"].as_str().unwrap();
    assert!(why.contains("is not the file"), "{why}");
    assert_eq!(fs::read(local(&bench, &it)).unwrap(), before);
    assert_eq!(bench.files_of(&it).len(), 1, "nothing is left beside");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_encrypted_copy_cannot_be_fetched_by_this_host(pool: PgPool) {
    let bucket = s3::Bucket::new().await;
    let secret = age::x25519::Identity::generate();
    let to = format!("--offsite-age-recipient={}", secret.to_public());
    let bench = bench(pool, &bucket, &[&to]).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    until_copied(&bench, id, "done").await;
    let offsite = bucket.offsite();
    let copies = keys(&offsite).await;
    assert!(
        copies.len() == 1 && copies[0].ends_with(".tar.gz.age"),
        "{copies:?}"
    );
    let back = bucket.path("back");
    offsite
        .get(&copies[0], &back, &mut |_, _| true)
        .await
        .unwrap();
    let opened = age::decrypt(&secret, &fs::read(back).unwrap()).unwrap();
    let file = local(&bench, &it);
    assert_eq!(opened, fs::read(&file).unwrap());
    let spooled = fs::read_dir(bench.t.data.path().join("backups")).unwrap();
    assert_eq!(spooled.count(), 1, "nothing is left beside");
    fs::remove_file(&file).unwrap();
    let refused = bench.post(&path_of(id, "fetch"), Value::Null).await;
    assert_eq!(refused.refusal(), (409, "backup.copy_encrypted"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn old_copies_go_but_never_an_instances_newest(pool: PgPool) {
    let bucket = s3::Bucket::new().await;
    let mut bench = bench(pool, &bucket, &["--offsite-keep-days=10"]).await;
    let (shop, lamp) = (bench.running("shop").await, bench.running("lamp").await);
    let (old, new) = (bench.good(&shop).await, bench.good(&shop).await);
    let only = bench.good(&lamp).await;
    for id in [old, new, only] {
        until_copied(&bench, id, "done").await;
    }
    for id in [old, only] {
        age(&bench, id, 11).await;
    }
    bench.kill_and_start_anew().await;
    let backup = until_copied(&bench, old, "off").await;
    assert_eq!(backup["status"], "good", "it stays here");
    assert_eq!(
        backup["offsite"]["detail"],
        "the copy was deleted after 10 days"
    );
    let left = keys(&bucket.offsite()).await;
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(bench.backup(only).await["offsite"]["status"], "done");
    // It is not copied again.
    bench.good(&lamp).await;
    assert_eq!(bench.backup(old).await["offsite"]["status"], "off");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_upload_goes_on_with_the_next_manager(pool: PgPool) {
    let bucket = s3::Bucket::new().await;
    let cut = Relay::cut_after(20 << 20).await;
    let endpoint = format!("--offsite-endpoint=http://{}", cut.address);
    let mut bench = bench(pool, &bucket, &[&endpoint]).await;
    let it = bench.running("shop").await;
    let incompressible = fs::read(bucket.file("noise", 40 * s3::MIB)).unwrap();
    bench.write(&it, "noise", incompressible);
    let id = bench.good(&it).await;
    let parts = async |bench: &Bench| -> i64 {
        sqlx::query_scalar(
            "select coalesce(jsonb_array_length(offsite_state -> 'parts'), 0)::bigint from backups where id = $1",
        )
        .bind(id)
        .fetch_one(&bench.t.pool)
        .await
        .unwrap()
    };
    eventually("it was cut", async || {
        (20 << 20 < cut.passed()).then_some(())
    })
    .await;
    bench.t.kill().await;
    let before = parts(&bench).await;
    assert!(before > 0);
    let whole = Relay::cut_after(u64::MAX).await;
    let url = format!("http://{}", whole.address).parse().unwrap();
    bench.t.settings.config.offsite.endpoint = Some(url);
    bench.t = bench.t.another().await;
    bench.t.run().await;
    until_copied(&bench, id, "done").await;
    let size = fs::metadata(local(&bench, &it)).unwrap().len();
    let rest = size - (before as u64) * (8 << 20);
    assert!(
        whole.passed() < rest + s3::MIB as u64,
        "{} of {size}",
        whole.passed()
    );
    assert_eq!(bucket.open_uploads().await, 0);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_bucket_that_is_missing_is_said_and_tried_again(pool: PgPool) {
    let bucket = s3::Bucket::new().await;
    let missing = format!("--offsite-url=s3://no-such-{}", Uuid::new_v4());
    let bench = bench(pool, &bucket, &[&missing]).await;
    let it = bench.running("shop").await;
    let id = bench.good(&it).await;
    let backup = until_copied(&bench, id, "failed").await;
    let why = backup["offsite"]["detail"].as_str().unwrap();
    assert!(why.contains("no such bucket"), "{why}");
    assert_eq!(backup["status"], "good");
    let retry: bool =
        sqlx::query_scalar("select offsite_retry_at > now() from backups where id = $1")
            .bind(id)
            .fetch_one(&bench.t.pool)
            .await
            .unwrap();
    assert!(retry);
}
