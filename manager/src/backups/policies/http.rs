use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{NewPolicy, PolicyInForce};
use crate::{
    backups::{Backups, Keep},
    kernel::InstanceId,
    web::{Auth, Json, Path, Problem},
};

pub(in crate::backups) fn router() -> OpenApiRouter<Backups> {
    OpenApiRouter::new().routes(routes!(get, put, delete))
}

/// When an instance is backed up, and what is kept.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BackupPolicy)]
struct PolicyView {
    enabled: bool,
    /// Minute, hour, day of month, month, day of week, in UTC; `null` in a
    /// policy of its own: the installation's.
    schedule: Option<String>,
    /// `null` in a policy of its own: the installation's.
    keep: Option<Keep>,
    /// The instance has none of its own; these are the installation's settings.
    inherited: bool,
    /// Over how many minutes from the schedule's times on the backups are
    /// spread, each instance's always at the same one; 0 for times of its own.
    window_minutes: i64,
    /// When its next backup is begun at the earliest.
    next_at: Option<DateTime<Utc>>,
    /// Since when a good backup has been due that neither exists nor is under
    /// way; `null`: none is late.
    late_since: Option<DateTime<Utc>>,
}

impl From<PolicyInForce> for PolicyView {
    fn from(it: PolicyInForce) -> Self {
        Self {
            enabled: it.policy.enabled,
            schedule: it.policy.schedule,
            keep: it.policy.keep,
            inherited: it.inherited,
            window_minutes: it.window.num_minutes(),
            next_at: it.next_at,
            late_since: it.late_since,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PutBackupPolicy {
    enabled: bool,
    /// Five fields in UTC, such as `30 3 * * 1-5`; `null`: the installation's.
    schedule: Option<String>,
    /// Of how many days, weeks and months one backup each is kept, 0 to 1000
    /// each; `null`: the installation's.
    keep: Option<Keep>,
}

/// When an instance is backed up
#[utoipa::path(get, path = "/api/v1/instances/{id}/backup-policy", tag = "backups", params(("id" = InstanceId, Path)),
    responses((status = 200, body = PolicyView), (status = "4XX", body = Problem)))]
async fn get(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
) -> Result<Json<PolicyView>, Problem> {
    Ok(Json(backups.policy(&actor, id).await?.into()))
}

/// Gives an instance times of its own
#[utoipa::path(put, path = "/api/v1/instances/{id}/backup-policy", tag = "backups", params(("id" = InstanceId, Path)),
    request_body = PutBackupPolicy,
    responses((status = 200, body = PolicyView), (status = "4XX", body = Problem)))]
async fn put(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    Json(body): Json<PutBackupPolicy>,
) -> Result<Json<PolicyView>, Problem> {
    let policy = NewPolicy {
        enabled: body.enabled,
        schedule: body.schedule,
        keep: body.keep,
    };
    let policy = backups.set_policy(&actor, id, Some(policy)).await?;
    Ok(Json(policy.into()))
}

/// Back to the installation's times
#[utoipa::path(delete, path = "/api/v1/instances/{id}/backup-policy", tag = "backups", params(("id" = InstanceId, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn delete(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
) -> Result<StatusCode, Problem> {
    backups.set_policy(&actor, id, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
