//! Files of any size, streamed both ways.
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use tower_http::services::ServeFile;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    backups::{Backups, Error, views::BackupView},
    kernel::{BackupId, InstanceId},
    web::{Auth, Json, Path, Problem},
};

/// An archive.
const GZIP: HeaderValue = HeaderValue::from_static("application/gzip");

pub(in crate::backups) fn router() -> OpenApiRouter<Backups> {
    OpenApiRouter::new().routes(routes!(download))
}

/// What takes its time: it bears no limit for when the answer begins.
pub(in crate::backups) fn slow_router() -> OpenApiRouter<Backups> {
    OpenApiRouter::new().routes(routes!(upload))
}

/// The archive, as a file
///
/// A `.tar.gz` that any tar opens. `Range` asks for a part of it.
#[utoipa::path(get, path = "/api/v1/backups/{id}/download", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 200, content_type = "application/gzip", body = Vec<u8>),
        (status = 206, content_type = "application/gzip", body = Vec<u8>), (status = "4XX", body = Problem)))]
async fn download(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<BackupId>,
    request: Request,
) -> Result<Response, Problem> {
    let (path, name) = backups.download(&actor, id).await?;
    let mut served = ServeFile::new(path);
    let answer = served.try_call(request).await;
    let answer = answer.map_err(|error| Error::Folder(error.to_string()))?;
    let mut response = answer.map(Body::new).into_response();
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(Error::BadRange.into());
    }
    if !response.status().is_success() {
        return Ok(response); // not modified
    }
    let disposition = format!("attachment; filename=\"{name}\"");
    let disposition = HeaderValue::from_str(&disposition).map_err(|_| Error::NotFound)?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    headers.insert(header::CONTENT_TYPE, GZIP);
    let store = HeaderValue::from_static("private, no-store");
    headers.insert(header::CACHE_CONTROL, store);
    Ok(response)
}

/// Brings an archive as a backup of the instance
///
/// The body is a file that was downloaded from a backup, of this installation or of one with the same
/// OPENFLOW_SECRET_KEYS. It is read whole and checked before it is taken. One of another project that is in this installation
/// takes a member of that one, too.
#[utoipa::path(post, path = "/api/v1/instances/{id}/backups/upload", tag = "backups",
    params(("id" = InstanceId, Path)), request_body(content = Vec<u8>, content_type = "application/gzip"),
    responses((status = 201, body = BackupView), (status = "4XX", body = Problem)))]
async fn upload(
    State(backups): State<Backups>,
    Auth(actor): Auth,
    Path(id): Path<InstanceId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse().ok());
    let backup = backups
        .upload(&actor, id, length, body.into_data_stream())
        .await?;
    let at = format!("/api/v1/backups/{}", backup.id);
    let view = Json(BackupView::from(backups.look(backup).await?));
    Ok((StatusCode::CREATED, [(header::LOCATION, at)], view).into_response())
}
