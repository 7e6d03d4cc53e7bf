use std::collections::HashMap;

use sqlx::PgConnection;

use super::model::Credential;

/// The credentials of every instance that should run, by user name.
pub(super) async fn credentials(
    conn: &mut PgConnection,
) -> sqlx::Result<HashMap<String, Credential>> {
    let rows = sqlx::query!(
        "select id, project_id, mqtt_password_hash from instances where desired = 'running'"
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let password_hash = row
                .mqtt_password_hash
                .try_into()
                .map_err(|_| sqlx::Error::Decode("instances.mqtt_password_hash".into()))?;
            Ok((
                row.id.to_string(),
                Credential {
                    project: row.project_id,
                    password_hash,
                },
            ))
        })
        .collect()
}
