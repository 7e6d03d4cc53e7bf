//! When backups are made, and which are kept.
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use openflow_manager::kernel::Clock as _;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::bench::{WithBackups as _, quiet};
use crate::support::instances::{Bench, It};

/// Every night at two, all at once.
const NIGHTLY: [&str; 3] = [
    "--backup-schedule=0 2 * * *",
    "--backup-window-minutes=0",
    "--backup-min-free-mb=0",
];

/// Moves the clock to that hour of the next day.
fn next_day(bench: &Bench, hour: u32) {
    let now = bench.t.clock.now();
    let tomorrow = (now + TimeDelta::days(1)).with_hour(hour).unwrap();
    bench.t.clock.advance(tomorrow - now);
}

async fn policy(bench: &Bench, it: &It) -> Value {
    bench.get(&it.path("backup-policy")).await.expect(200)
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn every_night_once(pool: PgPool) {
    let bench = Bench::with_flags(pool, &NIGHTLY).await;
    next_day(&bench, 12);
    let it = bench.running("shop").await;
    next_day(&bench, 3);
    let backups = bench.until_backups(&it, 1).await;
    assert_eq!(backups[0]["trigger"], "schedule");
    assert_eq!(backups[0]["requestedBy"], "schedule");
    assert_eq!(backups[0]["status"], "good");
    // The same night brings no second one.
    bench.t.clock.advance(TimeDelta::hours(2));
    let other = bench.running("other").await;
    bench.good(&other).await;
    assert_eq!(bench.backups_of(&it).await.len(), 1);
    next_day(&bench, 3);
    bench.until_backups(&it, 2).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn nights_without_a_manager_are_made_up_by_one(pool: PgPool) {
    let mut bench = Bench::with_flags(pool, &NIGHTLY).await;
    next_day(&bench, 12);
    let it = bench.running("shop").await;
    bench.t.kill().await;
    for _ in 0..3 {
        next_day(&bench, 12);
    }
    bench.t = bench.t.another().await;
    bench.t.run().await;
    bench.until_backups(&it, 1).await;
    let next: DateTime<Utc> = policy(&bench, &it).await["nextAt"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!((next.hour(), next.minute()), (2, 0));
    assert!(bench.t.clock.now() < next);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn within_which_window_the_next_one_comes_is_said(pool: PgPool) {
    let flags = ["--backup-schedule=0 2 * * *", "--backup-window-minutes=90"];
    let bench = Bench::with_flags(pool, &flags).await;
    let it = bench.running("shop").await;
    let inherited = policy(&bench, &it).await;
    assert_eq!(inherited["windowMinutes"], 90);
    let next: DateTime<Utc> = inherited["nextAt"].as_str().unwrap().parse().unwrap();
    let minutes = next.hour() * 60 + next.minute();
    assert!((120..210).contains(&minutes), "{next}");
    for (schedule, window) in [(json!("30 14 * * *"), 0), (Value::Null, 90)] {
        let own = json!({"enabled": true, "schedule": schedule, "keep": null});
        let path = it.path("backup-policy");
        let set = bench.call("PUT", &path, own).await.expect(200);
        assert_eq!(set["windowMinutes"], window);
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_instance_may_have_times_of_its_own(pool: PgPool) {
    let bench = Bench::with_flags(pool, &NIGHTLY).await;
    next_day(&bench, 12);
    let (it, never) = (bench.running("shop").await, bench.running("never").await);
    let inherited = policy(&bench, &it).await;
    assert_eq!(inherited["inherited"], true);
    assert_eq!(inherited["schedule"], "0 2 * * *");
    assert_eq!(inherited["windowMinutes"], 0);
    assert_eq!(
        inherited["keep"],
        json!({"daily": 7, "weekly": 4, "monthly": 6})
    );

    let put = async |it: &It, body| bench.call("PUT", &it.path("backup-policy"), body).await;
    let own = json!({"enabled": true, "schedule": "30 14 * * *", "keep": {"daily": 1, "weekly": 0, "monthly": 0}});
    let set = put(&it, own).await.expect(200);
    assert_eq!(set["inherited"], false);
    assert!(
        set["nextAt"].as_str().unwrap().contains("T14:30:00"),
        "{set}"
    );
    put(
        &never,
        json!({"enabled": false, "schedule": null, "keep": null}),
    )
    .await
    .expect(200);
    assert_eq!(policy(&bench, &never).await["nextAt"], Value::Null);

    bench.t.clock.advance(TimeDelta::hours(4));
    bench.until_backups(&it, 1).await;
    // Only one day is kept.
    next_day(&bench, 15);
    crate::support::instances::eventually("yesterday's is replaced", async || {
        let all = bench.backups_of(&it).await;
        let good = all.len() == 1 && all[0]["status"] == "good";
        let today = bench.t.clock.now().format("%Y-%m-%d").to_string();
        (good && all[0]["createdAt"].as_str()?.starts_with(&today)).then_some(())
    })
    .await;
    assert_eq!(bench.files_of(&it).len(), 1);
    assert_eq!(bench.backups_of(&never).await.len(), 0);

    bench
        .call("DELETE", &it.path("backup-policy"), Value::Null)
        .await
        .expect(204);
    assert_eq!(policy(&bench, &it).await["inherited"], true);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_bad_policy_is_refused_and_says_why(pool: PgPool) {
    let bench = quiet(pool).await;
    let it = bench.running("shop").await;
    for (body, field, words) in [
        (
            json!({"enabled": true, "schedule": "0 24 * * *", "keep": null}),
            "schedule",
            "hour",
        ),
        (
            json!({"enabled": true, "schedule": "0 0 2 * * *", "keep": null}),
            "schedule",
            "five fields",
        ),
        (
            json!({"enabled": true, "schedule": "0 0 30 2 *", "keep": null}),
            "schedule",
            "never",
        ),
        (
            json!({"enabled": true, "schedule": null, "keep": {"daily": 0, "weekly": 0, "monthly": 0}}),
            "keep",
            "not all",
        ),
        (
            json!({"enabled": true, "schedule": null, "keep": {"daily": 1001, "weekly": 0, "monthly": 0}}),
            "keep",
            "1000",
        ),
    ] {
        let answer = bench
            .call("PUT", &it.path("backup-policy"), body.clone())
            .await;
        assert_eq!(answer.status, 422, "{body}");
        let said = answer.json["errors"][field][0].as_str().unwrap_or_default();
        assert!(said.contains(words), "{body}: {}", answer.json);
    }
    assert_eq!(policy(&bench, &it).await["inherited"], true);
    assert_eq!(
        policy(&bench, &it).await["enabled"],
        false,
        "it is off here"
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_changed_time_is_no_missed_turn(pool: PgPool) {
    let bench = Bench::with_flags(pool, &NIGHTLY).await;
    next_day(&bench, 12);
    let it = bench.running("shop").await;
    // Half past ten has been today already; the next one is tomorrow.
    let body = json!({"enabled": true, "schedule": "30 10 * * *", "keep": null});
    bench
        .call("PUT", &it.path("backup-policy"), body)
        .await
        .expect(200);
    let other = bench.running("other").await;
    bench.good(&other).await;
    assert_eq!(bench.backups_of(&it).await.len(), 0);
    next_day(&bench, 11);
    bench.until_backups(&it, 1).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_turn_without_a_good_backup_is_late_until_there_is_one(pool: PgPool) {
    let mut bench = Bench::with_flags(pool, &NIGHTLY).await;
    next_day(&bench, 12);
    let it = bench.running("shop").await;
    let late = async |bench: &Bench| policy(bench, &it).await["lateSince"].clone();
    assert_eq!(late(&bench).await, Value::Null, "a new one owes none");
    next_day(&bench, 3);
    bench.until_backups(&it, 1).await;
    assert_eq!(late(&bench).await, Value::Null);

    // The next night's comes to nothing; the folder is a file.
    let folder = bench.backup_folder(&it);
    std::fs::rename(&folder, folder.with_extension("aside")).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    next_day(&bench, 3);
    let backups = bench.until_backups(&it, 2).await;
    assert_eq!(backups[0]["status"], "failed", "{:#}", backups[0]);
    assert_eq!(late(&bench).await, backups[0]["createdAt"]);
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(folder.with_extension("aside"), &folder).unwrap();
    bench.good(&it).await;
    assert_eq!(late(&bench).await, Value::Null);

    // Nobody is there to make the next one.
    bench.t.kill().await;
    next_day(&bench, 2);
    let minute = i64::from(bench.t.clock.now().minute());
    bench.t.clock.advance(TimeDelta::minutes(5 - minute));
    assert_eq!(late(&bench).await, Value::Null, "it has some minutes");
    next_day(&bench, 3);
    let since = late(&bench).await;
    assert!(since.as_str().unwrap().contains("T02:00:00"), "{since}");
    let off = json!({"enabled": false, "schedule": null, "keep": null});
    let set = bench.call("PUT", &it.path("backup-policy"), off).await;
    assert_eq!(set.expect(200)["lateSince"], Value::Null);
    bench.t = bench.t.another().await;
}
