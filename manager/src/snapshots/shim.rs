//! What the editor's button asks, through the settings shim, which shows its
//! magic token. See `docs/wire.md`.
//!
//! Who the person is, the instance says; what they may, is looked up. A flow
//! that says somebody else's id gets no further than its own instance.
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Error, Snapshot, SnapshotKind, Snapshots,
    http::default_name,
    model::Label,
    plan::{ActiveChoice, Choice, CredentialChoice},
};
use crate::{
    access::http::magic_of,
    identity::Role,
    instances::restores::{Restore, RestoreState},
    kernel::{
        Actor, DomainError as _, InstanceId, Kind, PageRequest, RestoreId, SnapshotId, UserId,
    },
    web::{Json, Path, Problem, Query},
};

const BODY_BYTES_MAX: usize = 64 << 10;
const LIMIT_DEFAULT: i64 = 10;
const LIMIT_MAX: i64 = 50;

pub fn router(snapshots: Snapshots) -> Router {
    Router::new()
        .route("/shim/v1/deployed", post(deployed))
        .route("/shim/v1/snapshots", get(list).post(take))
        .route("/shim/v1/snapshots/{id}/restore", post(restore))
        .route("/shim/v1/restores/{id}", get(restore_state))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(snapshots)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Person {
    user_id: UserId,
}

#[derive(Default, Deserialize)]
struct Deployed {
    #[serde(default)]
    person: Option<Person>,
}

#[derive(Deserialize)]
struct Take {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    person: Person,
}

#[derive(Deserialize)]
struct ByPerson {
    person: Person,
}

#[derive(Deserialize)]
struct Listing {
    limit: Option<i64>,
}

#[derive(Serialize)]
struct Items {
    items: Vec<Item>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: SnapshotId,
    kind: SnapshotKind,
    name: String,
    author: String,
    nodes: i32,
    created_at: DateTime<Utc>,
}

impl From<Snapshot> for Item {
    fn from(it: Snapshot) -> Self {
        Self {
            id: it.id,
            kind: it.kind,
            name: it.name,
            author: it.author,
            nodes: it.nodes,
            created_at: it.created_at,
        }
    }
}

#[derive(Serialize)]
struct Going {
    id: RestoreId,
    state: RestoreState,
    detail: Option<String>,
}

impl From<Restore> for Going {
    fn from(it: Restore) -> Self {
        Self {
            id: it.id,
            state: it.state,
            detail: it.detail,
        }
    }
}

impl Snapshots {
    async fn instance_of(&self, headers: &HeaderMap) -> Result<InstanceId, Error> {
        Ok(self.parts.access.instance_of(magic_of(headers)?).await?)
    }

    /// The person, when they are a member of the instance's project.
    pub(super) async fn member(&self, id: InstanceId, user: UserId) -> Result<Actor, Error> {
        let found = self.parts.identity.actor_of(user).await;
        let actor = found.map_err(|error| match error.kind() {
            Kind::NotFound => Error::NotAMember,
            _ => error.into(),
        })?;
        let opened = self.parts.instances.open(&actor, id, Role::Member).await;
        match opened {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Forbidden) => {
                Err(Error::NotAMember)
            }
            other => Ok(other.map(|_| actor)?),
        }
    }
}

async fn deployed(
    State(snapshots): State<Snapshots>,
    headers: HeaderMap,
    body: Option<Json<Deployed>>,
) -> Result<StatusCode, Problem> {
    let instance = snapshots.instance_of(&headers).await?;
    let by = body.and_then(|Json(it)| it.person).map(|it| it.user_id);
    snapshots.deployed(instance, by);
    Ok(StatusCode::ACCEPTED)
}

async fn list(
    State(snapshots): State<Snapshots>,
    headers: HeaderMap,
    Query(query): Query<Listing>,
) -> Result<Json<Items>, Problem> {
    let instance = snapshots.instance_of(&headers).await?;
    let page = PageRequest {
        limit: query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX),
        after: None,
    };
    let shim = Actor::System("shim");
    let found = snapshots.list(&shim, instance, None, page).await?;
    let items = found.items.into_iter().map(Item::from).collect();
    Ok(Json(Items { items }))
}

async fn take(
    State(snapshots): State<Snapshots>,
    headers: HeaderMap,
    Json(body): Json<Take>,
) -> Result<(StatusCode, Json<Item>), Problem> {
    let instance = snapshots.instance_of(&headers).await?;
    let actor = snapshots.member(instance, body.person.user_id).await?;
    let label = Label::parse(
        body.name.as_deref(),
        body.description.as_deref(),
        &default_name(snapshots.now()),
    )?;
    let detail = json!({"via": "editor"});
    let taken = snapshots.take(&actor, instance, label, detail).await?;
    Ok((StatusCode::CREATED, Json(taken.into())))
}

async fn restore(
    State(snapshots): State<Snapshots>,
    headers: HeaderMap,
    Path(id): Path<SnapshotId>,
    Json(body): Json<ByPerson>,
) -> Result<(StatusCode, Json<Going>), Problem> {
    let instance = snapshots.instance_of(&headers).await?;
    let actor = snapshots.member(instance, body.person.user_id).await?;
    let (tx, snapshot) = snapshots.open(&actor, id, Role::Member).await?;
    drop(tx);
    if snapshot.instance != instance {
        return Err(Error::NotFound.into());
    }
    let choice = Choice {
        target: None,
        credentials: CredentialChoice::Snapshot,
        add_env: false,
        active: ActiveChoice::Keep,
    };
    let restore = snapshots.restore(&actor, id, choice).await?;
    Ok((StatusCode::ACCEPTED, Json(restore.into())))
}

async fn restore_state(
    State(snapshots): State<Snapshots>,
    headers: HeaderMap,
    Path(id): Path<RestoreId>,
) -> Result<Json<Going>, Problem> {
    let instance = snapshots.instance_of(&headers).await?;
    let shim = Actor::System("shim");
    let restore = snapshots.parts.instances.restore(&shim, id).await?;
    if restore.instance != instance {
        return Err(crate::instances::Error::RestoreNotFound.into());
    }
    Ok(Json(restore.into()))
}
