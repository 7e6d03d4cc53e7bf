use axum::{
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::SnapshotView;
use crate::{
    kernel::{InstanceId, Secret, SnapshotId},
    snapshots::{Snapshots, transfer::File},
    web::{Auth, Json, Path, Problem},
};

const IMPORT_BYTES_MAX: usize = 16 << 20;

pub(super) fn router() -> OpenApiRouter<Snapshots> {
    let import = OpenApiRouter::new()
        .routes(routes!(import))
        .layer(DefaultBodyLimit::max(IMPORT_BYTES_MAX));
    OpenApiRouter::new().routes(routes!(export)).merge(import)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExportSnapshot {
    /// 12 to 256 characters. Whoever knows it can read the credentials.
    passphrase: Secret,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ImportSnapshot {
    passphrase: Secret,
    /// The file that an export gave.
    #[schema(value_type = File)]
    snapshot: Value,
    /// The file's when absent.
    name: Option<String>,
}

/// A snapshot as a file, with its credentials below a passphrase
#[utoipa::path(post, path = "/api/v1/snapshots/{id}/export", operation_id = "exportSnapshot", tag = "snapshots",
    params(("id" = SnapshotId, Path)), request_body = ExportSnapshot,
    responses((status = 200, body = File), (status = "4XX", body = Problem)))]
async fn export(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<SnapshotId>,
    Json(body): Json<ExportSnapshot>,
) -> Result<impl IntoResponse, Problem> {
    let (it, file) = snapshots.export(&actor, id, &body.passphrase).await?;
    let disposition = format!("attachment; filename=\"{}\"", file_name(&it.name));
    let headers = [
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Json(file)))
}

/// A new snapshot out of a file
#[utoipa::path(post, path = "/api/v1/instances/{id}/snapshots/import", operation_id = "importSnapshot", tag = "snapshots",
    params(("id" = InstanceId, Path)), request_body = ImportSnapshot,
    responses((status = 201, body = SnapshotView), (status = "4XX", body = Problem)))]
async fn import(
    State(snapshots): State<Snapshots>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    Json(body): Json<ImportSnapshot>,
) -> Result<impl IntoResponse, Problem> {
    let file = (body.snapshot, &body.passphrase);
    let made = snapshots
        .import(&actor, id, file, body.name.as_deref())
        .await?;
    Ok((StatusCode::CREATED, Json(SnapshotView::from(made))))
}

/// Nothing but letters, digits and dashes of the snapshot's name.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let stem: String = name.chars().map(plain).take(60).collect();
    let stem = stem.trim_matches('-');
    let stem = if stem.is_empty() { "flows" } else { stem };
    format!("{}.openflow-snapshot.json", stem.to_ascii_lowercase())
}
