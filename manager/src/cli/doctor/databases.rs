//! The PostgreSQL server for instances.
use super::Finding;
use crate::{config::Config, databases::Databases};

const CHECK: &str = "databases";

/// Nothing when there is none.
pub(super) async fn server(config: &Config) -> Option<Finding> {
    let url = config.instances.instance_database_url.as_ref()?;
    let advice = "Correct OPENFLOW_INSTANCE_DATABASE_URL.";
    let databases = match Databases::new(Some(url)) {
        Ok(databases) => databases,
        Err(why) => return Some(Finding::fail(CHECK, why, advice)),
    };
    let found = match databases.look().await {
        Ok(found) => found?,
        Err(error) => return Some(Finding::fail(CHECK, error.to_string(), advice)),
    };
    let words = format!("PostgreSQL {} at {}", found.version, found.address);
    if found.databases.is_empty() {
        return Some(Finding::ok(CHECK, words));
    }
    let revoke = found.databases.iter().map(|it| {
        let name = it.replace('"', "\"\"");
        format!("revoke connect on database \"{name}\" from public;")
    });
    Some(Finding::warn(
        CHECK,
        format!(
            "{words}: tenants' roles get into {}",
            found.databases.join(", ")
        ),
        format!(
            "Close them, as a superuser: {}",
            revoke.collect::<Vec<_>>().join(" ")
        ),
    ))
}
