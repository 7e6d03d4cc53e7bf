use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{Audit, Entry, Filter};
use crate::{
    kernel::{AuditId, ProjectId, UserId},
    web::{Auth, Json, PageQuery, PageView, Problem, Query},
};

pub fn router(audit: Audit) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(list)).with_state(audit)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
struct AuditQuery {
    /// Only this project's.
    project_id: Option<Uuid>,
    /// Only this user's.
    actor: Option<Uuid>,
    /// An action (`instance.create`) or the part before its dot (`instance`).
    action: Option<String>,
    /// Only what happened before.
    before: Option<DateTime<Utc>>,
    /// 1 to 200, 50 when absent.
    limit: Option<i64>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditEntry {
    id: AuditId,
    at: DateTime<Utc>,
    actor: AuditActor,
    /// `slice.verb`.
    action: String,
    project_id: Option<ProjectId>,
    target: AuditTarget,
    #[schema(value_type = Object)]
    detail: Value,
    /// Where the request came from.
    address: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AuditActor {
    /// `user`, `system` or `setup`.
    kind: String,
    id: Option<UserId>,
    name: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct AuditTarget {
    r#type: String,
    id: String,
    name: String,
}

impl From<Entry> for AuditEntry {
    fn from(it: Entry) -> Self {
        Self {
            id: it.id,
            at: it.at,
            actor: AuditActor {
                kind: it.actor_kind,
                id: it.actor_id.map(UserId),
                name: it.actor_name,
            },
            action: it.action,
            project_id: it.project,
            target: AuditTarget {
                r#type: it.target_type,
                id: it.target_id,
                name: it.target_name,
            },
            detail: it.detail,
            address: it.address,
        }
    }
}

/// Who changed what, newest first
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, body = PageView<AuditEntry>), (status = "4XX", body = Problem)))]
async fn list(
    State(audit): State<Audit>,
    Auth(actor): Auth,
    Query(query): Query<AuditQuery>,
) -> Result<Json<PageView<AuditEntry>>, Problem> {
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    }
    .request()?;
    let filter = Filter {
        project: query.project_id.map(ProjectId),
        actor: query.actor.map(UserId),
        action: query.action,
        before: query.before,
    };
    Ok(Json(audit.list(&actor, &filter, page).await?.into()))
}
