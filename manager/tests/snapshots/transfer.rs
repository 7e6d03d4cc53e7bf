use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    flows::{deploy, flows, found, install, over, password, path_of, restore, take},
    support::{
        Answer,
        instances::{Bench, It},
    },
};

const PASSPHRASE: &str = "correct horse battery";

async fn export(bench: &Bench, snapshot: &Value) -> Value {
    let body = json!({"passphrase": PASSPHRASE});
    let answer = bench.post(&path_of(snapshot, "/export"), body).await;
    let disposition = answer.headers["content-disposition"].to_str().unwrap();
    assert_eq!(
        disposition,
        "attachment; filename=\"release-1.openflow-snapshot.json\""
    );
    answer.expect(200)
}

async fn import(bench: &Bench, it: &It, file: &Value, passphrase: &str) -> Answer {
    let body = json!({"passphrase": passphrase, "snapshot": file});
    bench.post(&it.path("snapshots/import"), body).await
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_snapshot_moves_as_a_file_with_its_credentials(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let env =
        json!([{"name": "LINE", "value": "7"}, {"name": "KEY", "value": "hush", "secret": true}]);
    let it = bench.create_with("wf1", json!({"env": env})).await;
    bench.until(&it, "running").await;
    deploy(&bench, &it, &flows("a"), &password("sesame"));
    install(&bench, &it, &[("a", "1.0.0")]);
    let taken = take(&bench, &it, "Release 1").await;
    let file = export(&bench, &taken).await;
    assert_eq!(
        (&file["format"], &file["version"]),
        (&json!("openflow-snapshot"), &json!(1))
    );
    let text = file.to_string();
    assert!(!text.contains("sesame") && !text.contains("inject") && !text.contains("hush"));

    let other = bench.running("wf2").await;
    let got = import(&bench, &other, &file, PASSPHRASE).await.expect(201);
    for field in [
        "name",
        "nodes",
        "tabs",
        "modules",
        "env",
        "credentials",
        "engine",
    ] {
        assert_eq!(got[field], taken[field], "{field}");
    }
    assert_eq!(
        (&got["kind"], &got["instanceId"]),
        (&json!("manual"), &json!(other.id))
    );
    install(&bench, &other, &[("a", "1.0.0")]);
    let begun = restore(&bench, &got, Value::Null).await.expect(202);
    over(&bench, &begun).await;
    assert_eq!(found(&bench, &other), (flows("a"), password("sesame")));

    let audit = bench
        .get("/api/v1/audit?action=snapshot.export")
        .await
        .expect(200);
    assert_eq!(audit["items"].as_array().unwrap().len(), 1);
    let named = json!({"passphrase": PASSPHRASE, "snapshot": file, "name": "Other"});
    let named = bench
        .post(&other.path("snapshots/import"), named)
        .await
        .expect(201);
    assert_eq!(named["name"], "Other");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_wrong_passphrase_and_a_changed_file_are_told_apart_from_a_good_one(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let taken = take(&bench, &it, "Release 1").await;
    let file = export(&bench, &taken).await;
    let count = "select count(*) from snapshots";
    let before = bench.t.count(count).await;
    let with = |field: &str, value: Value| {
        let mut changed = file.clone();
        changed[field] = value;
        changed
    };
    let sealed = file["sealed"].as_str().unwrap();
    let flipped = if sealed.starts_with('A') { "B" } else { "A" };
    // Whoever changes a file on purpose makes the checksum fit.
    let forged = |mut file: Value| {
        let fields = json!([
            file["format"],
            file["version"],
            file["name"],
            file["engine"],
            file["engineVersion"],
            file["createdAt"]
                .as_str()
                .unwrap()
                .parse::<chrono::DateTime<chrono::Utc>>()
                .unwrap()
                .timestamp(),
            file["salt"]
        ]);
        let text = format!("{fields}{}", file["sealed"].as_str().unwrap());
        file["checksum"] = json!(openflow_manager::crypto::sha256_hex(&text));
        file
    };
    assert_eq!(forged(file.clone()), file, "the test can forge");
    for (what, file, passphrase, words) in [
        (
            "wrong passphrase",
            file.clone(),
            "incorrect horse",
            "passphrase is wrong",
        ),
        (
            "cut",
            with("sealed", json!(sealed[..sealed.len() / 2])),
            PASSPHRASE,
            "damaged",
        ),
        (
            "flipped",
            with("sealed", json!(format!("{flipped}{}", &sealed[1..]))),
            PASSPHRASE,
            "damaged",
        ),
        (
            "renamed",
            with("name", json!("Other")),
            PASSPHRASE,
            "damaged",
        ),
        (
            "forged",
            forged(with("name", json!("Other"))),
            PASSPHRASE,
            "somebody changed",
        ),
        (
            "forged body",
            forged(with("sealed", json!(format!("{flipped}{}", &sealed[1..])))),
            PASSPHRASE,
            "somebody changed",
        ),
        (
            "short",
            forged(with("sealed", json!("AAAA"))),
            PASSPHRASE,
            "somebody changed",
        ),
        (
            "salt",
            forged(with("salt", json!("AAAA"))),
            PASSPHRASE,
            "damaged",
        ),
        (
            "newer",
            with("version", json!(2)),
            PASSPHRASE,
            "another version",
        ),
        (
            "something else",
            json!({"format": "zip"}),
            PASSPHRASE,
            "not a snapshot",
        ),
        ("nothing", json!(null), PASSPHRASE, "not a snapshot"),
        ("a list", json!([]), PASSPHRASE, "not a snapshot"),
    ] {
        let answer = import(&bench, &it, &file, passphrase).await;
        assert_eq!(
            answer.refusal(),
            (422, "snapshot.bad_file"),
            "{what}: {}",
            answer.json
        );
        assert!(
            answer.json["detail"].as_str().unwrap().contains(words),
            "{what}: {}",
            answer.json
        );
    }
    let n8n = import(
        &bench,
        &it,
        &forged(with("engine", json!("n8n"))),
        PASSPHRASE,
    )
    .await;
    assert_eq!(n8n.refusal(), (422, "snapshot.other_engine"));
    for passphrase in ["too short", &"x".repeat(257)] {
        let answer = import(&bench, &it, &file, passphrase).await;
        assert_eq!(answer.refusal(), (422, "snapshot.bad_passphrase"));
        let body = json!({"passphrase": passphrase});
        let answer = bench.post(&path_of(&taken, "/export"), body).await;
        assert_eq!(answer.refusal(), (422, "snapshot.bad_passphrase"));
    }
    let huge = with("sealed", json!("A".repeat(17 << 20)));
    let answer = import(&bench, &it, &huge, PASSPHRASE).await;
    assert_eq!(answer.refusal(), (413, "request.too_large"));
    // Larger than what other routes take.
    let large = with("sealed", json!("A".repeat(8 << 20)));
    assert_eq!(import(&bench, &it, &large, PASSPHRASE).await.status, 422);
    assert_eq!(bench.t.count(count).await, before, "nothing was stored");
}
