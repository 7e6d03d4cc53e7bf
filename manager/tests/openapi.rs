//! The API's document: the checked-in one is the served one, and it says what
//! a reader needs of every operation. `UPDATE=1` writes `manager/openapi.json`
//! anew.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::{collections::BTreeSet, env, fs};

use openflow_manager::app;
use serde_json::Value;
use sqlx::PgPool;
use support::TestApp;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

/// Operations that refuse nobody and fail in no way of their own.
const NEVER_FAIL: [&str; 2] = ["/api/v1/health", "/api/v1/health/live"];

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_checked_in_document_is_the_served_one(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let served = serde_json::to_vec(&t.openapi).unwrap();
    let served = app::document(&served).unwrap();
    if env::var_os("UPDATE").is_some() {
        fs::write(FILE, &served).unwrap();
    }
    let checked_in = fs::read_to_string(FILE).unwrap_or_default();
    let first = served.lines().zip(checked_in.lines()).find(|(a, b)| a != b);
    assert!(
        checked_in == served,
        "{FILE} is not current (first difference: {first:?}): run this test with UPDATE=1 and commit the file"
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn every_operation_says_what_it_does_and_how_it_fails(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let document = serde_json::to_value(&t.openapi).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut ids = BTreeSet::new();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            let name = format!("{method} {path}");
            assert!(
                operation["summary"].as_str().is_some_and(|it| it.len() > 3),
                "{name}"
            );
            assert_eq!(
                operation["tags"].as_array().map(Vec::len),
                Some(1),
                "{name}"
            );
            let id = operation["operationId"].as_str().unwrap_or_default();
            assert!(!id.is_empty() && ids.insert(id.to_owned()), "{name}: {id}");
            let statuses: Vec<&String> =
                operation["responses"].as_object().unwrap().keys().collect();
            assert!(statuses.iter().any(|it| it.starts_with('2')), "{name}");
            let fails = statuses.iter().any(|it| it.starts_with(['4', '5']));
            assert!(fails || NEVER_FAIL.contains(&path.as_str()), "{name}");
            assert_eq!(parameters(operation), placeholders(path), "{name}");
        }
    }
    assert!(operations > 50, "only {operations}");
}

/// The path parameters that the operation describes.
fn parameters(operation: &Value) -> BTreeSet<&str> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    all.filter(|it| it["in"] == "path")
        .map(|it| it["name"].as_str().unwrap())
        .collect()
}

fn placeholders(path: &str) -> BTreeSet<&str> {
    path.split('/')
        .filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'))
        .collect()
}
