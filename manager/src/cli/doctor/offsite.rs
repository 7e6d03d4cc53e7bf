use std::time::Duration;

use super::Finding;
use crate::{config::Config, offsite::Offsite};

/// Somebody waits for the report.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes a small object, reads it, and deletes it again.
pub(super) async fn bucket(config: &Config) -> Option<Finding> {
    let made = Offsite::with_patience(&config.offsite, PATIENCE);
    let offsite = match made {
        Ok(None) => return None,
        Ok(Some(offsite)) => offsite,
        Err(error) => return Some(failed(&error.to_string())),
    };
    Some(match offsite.check().await {
        Err(error) => failed(&format!("{}: {error}", offsite.name())),
        Ok(()) if offsite.encrypts() => Finding::ok(
            "offsite",
            format!("{} takes copies of backups, encrypted", offsite.name()),
        ),
        Ok(()) => Finding::ok(
            "offsite",
            format!("{} takes copies of backups", offsite.name()),
        ),
    })
}

fn failed(detail: &str) -> Finding {
    Finding::fail(
        "offsite",
        detail,
        "Backups are made all the same, but have no copy elsewhere until this is mended.",
    )
}
