//! What a tenant can do to the data folder.
use std::{
    fs::{self, File},
    os::unix::fs::symlink,
};

use openflow_manager::{engines::node_red::credentials as node_red, kernel::Secret};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    flows::{deploy, flows, install, list, over, password, plan, restore, take},
    support::instances::{Bench, It},
};

/// Taking is refused with that code and these words, and nothing is stored.
async fn refused(bench: &Bench, it: &It, code: &str, words: &str) {
    let answer = bench.post(&it.path("snapshots"), Value::Null).await;
    assert_eq!(answer.refusal(), (409, code), "{}", answer.json);
    let detail = answer.json["detail"].as_str().unwrap();
    assert!(detail.contains(words), "{detail}");
    assert!(list(bench, it, "").await.is_empty());
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn no_link_is_followed_out_of_the_folder(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let folder = bench.folder(&it);
    let outside = bench.t.data.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["flows.json", "flows_cred.json", "package.json"] {
        let kept = fs::read(folder.join(name)).ok();
        fs::write(outside.join(name), "[]").unwrap();
        let _ = fs::remove_file(folder.join(name));
        symlink(outside.join(name), folder.join(name)).unwrap();
        refused(
            &bench,
            &it,
            "snapshot.unreadable",
            &format!("{name} is a link"),
        )
        .await;
        fs::remove_file(folder.join(name)).unwrap();
        if let Some(kept) = kept {
            fs::write(folder.join(name), kept).unwrap();
        }
    }
    // A folder on the way is no better; the module's version is unknown then.
    install(&bench, &it, &[("thing", "1.0.0")]);
    fs::rename(folder.join("node_modules"), outside.join("node_modules")).unwrap();
    symlink(outside.join("node_modules"), folder.join("node_modules")).unwrap();
    let taken = take(&bench, &it, "x").await;
    assert_eq!(taken["modules"], json!([{"name": "thing", "version": ""}]));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_is_no_file_of_node_red_is_refused(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let folder = bench.folder(&it);
    let secret = Secret::new(bench.env_of(&it, "OPENFLOW_CREDENTIAL_SECRET").unwrap());
    let flows_file = folder.join("flows.json");
    for (content, words) in [
        (&b"{}"[..], "not a JSON array"),
        (b"[", "not a JSON array"),
        (b"\xff", "not text"),
        (b"[{}]", "no id"),
        (br#"[{"id":"1","type":"a"},{"id":"1","type":"a"}]"#, "twice"),
    ] {
        fs::write(&flows_file, content).unwrap();
        refused(&bench, &it, "snapshot.unreadable", words).await;
    }
    // Sparse, so it costs nothing but to read.
    File::create(&flows_file)
        .unwrap()
        .set_len((32 << 20) + 1)
        .unwrap();
    refused(
        &bench,
        &it,
        "snapshot.unreadable",
        "bigger than 33554432 bytes",
    )
    .await;
    fs::remove_file(&flows_file).unwrap();
    nix::unistd::mkfifo(&flows_file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&bench, &it, "snapshot.unreadable", "not a regular file").await;
    fs::remove_file(&flows_file).unwrap();

    let credentials = folder.join("flows_cred.json");
    fs::write(&credentials, "nonsense").unwrap();
    refused(
        &bench,
        &it,
        "snapshot.wrong_key",
        "not as the engine writes it",
    )
    .await;
    let own = password("x");
    let other = node_red::seal(&Secret::new("another key"), own.as_object().unwrap());
    fs::write(&credentials, other).unwrap();
    refused(
        &bench,
        &it,
        "snapshot.wrong_key",
        "not encrypted with this instance's key",
    )
    .await;
    fs::write(
        &credentials,
        node_red::seal(&secret, own.as_object().unwrap()),
    )
    .unwrap();
    take(&bench, &it, "good again").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_broken_state_does_not_hinder_its_repair(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("good"), &password("x"));
    let good = take(&bench, &it, "good").await;
    fs::write(bench.folder(&it).join("flows.json"), "broken").unwrap();
    let told = plan(&bench, &good, Value::Null).await;
    assert_eq!(told["blockers"], json!([]));
    assert!(
        told["warnings"].to_string().contains("cannot be kept"),
        "{told}"
    );
    let begun = restore(&bench, &good, Value::Null).await.expect(202);
    let done = over(&bench, &begun).await;
    assert_eq!(done["state"], "done");
    assert!(
        done["detail"]
            .as_str()
            .unwrap()
            .contains("could not be kept")
    );
    assert!(list(&bench, &it, "?kind=before-restore").await.is_empty());
    assert_eq!(
        crate::flows::found(&bench, &it),
        (flows("good"), password("x"))
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn credentials_that_the_key_ring_does_not_open_are_not_restored(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let taken = take(&bench, &it, "x").await;
    sqlx::query("update snapshots set credentials_sealed = set_byte(credentials_sealed, 1, get_byte(credentials_sealed, 1) # 255)")
        .execute(&bench.t.pool)
        .await
        .unwrap();
    let told = plan(&bench, &taken, Value::Null).await;
    assert!(
        told["blockers"][0]
            .as_str()
            .unwrap()
            .contains("OPENFLOW_SECRET_KEYS"),
        "{told}"
    );
    let answer = restore(&bench, &taken, Value::Null).await;
    assert_eq!(answer.refusal(), (409, "snapshot.blocked"));
    let body = json!({"passphrase": "correct horse"});
    let answer = bench
        .post(&crate::flows::path_of(&taken, "/export"), body)
        .await;
    assert_eq!(answer.refusal(), (409, "snapshot.sealed"));
    assert!(list(&bench, &it, "?kind=before-restore").await.is_empty());
    let none = bench.get(&it.path("restores")).await.expect(200);
    assert_eq!(none["items"], json!([]));
}
