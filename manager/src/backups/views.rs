use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Archive, BackupStatus, Offsite, OffsiteStatus, Seen, SkippedFile, Trigger, Verification,
    VerificationLevel, VerificationStatus,
};
use crate::{
    engines::Engine,
    kernel::{BackupId, InstanceId, ProjectId},
};

/// A copy of an instance's whole data folder.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Backup)]
pub(super) struct BackupView {
    id: BackupId,
    instance_id: InstanceId,
    /// When the backup was made.
    instance_name: String,
    /// A backup outlives its instance.
    instance_exists: bool,
    project_id: ProjectId,
    trigger: Trigger,
    status: BackupStatus,
    archive: Archive,
    /// Why it is not good.
    detail: Option<String>,
    requested_by: String,
    /// While it runs.
    progress: Option<BackupProgress>,
    /// Of the archive.
    size_bytes: Option<i64>,
    /// Of the files in it.
    data_bytes: Option<i64>,
    files: Option<i64>,
    /// How long the instance stood still for it; `null` when it did not.
    freeze_ms: Option<i64>,
    /// What could not be read, at most 20 of it.
    skipped: Vec<SkippedFile>,
    engine: Engine,
    /// Empty when it is not known.
    engine_version: String,
    /// Of the archive, hexadecimal.
    sha256: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    verification: VerificationView,
    offsite: OffsiteView,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BackupProgress {
    done_bytes: i64,
    /// It may still grow.
    total_bytes: i64,
}

/// Whether it was tried that the backup can be restored.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BackupVerification)]
struct VerificationView {
    status: VerificationStatus,
    /// How deep the last one went.
    level: Option<VerificationLevel>,
    /// What it said; and of a later one that this host could not carry through
    /// (Docker is away, no room), when it was and why.
    detail: Option<String>,
    /// When the last one was that came to a result.
    at: Option<DateTime<Utc>>,
}

/// The copy in the bucket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BackupOffsite)]
struct OffsiteView {
    status: OffsiteStatus,
    /// Why there is none; why the last fetch of it failed.
    detail: Option<String>,
    at: Option<DateTime<Utc>>,
    /// It is being fetched back, or waits for that.
    fetching: bool,
}

impl From<Seen> for BackupView {
    fn from(
        Seen {
            backup: it,
            archive,
        }: Seen,
    ) -> Self {
        let progress = |(done_bytes, total_bytes)| BackupProgress {
            done_bytes,
            total_bytes,
        };
        Self {
            id: it.id,
            instance_id: it.instance,
            instance_name: it.instance_name,
            instance_exists: it.instance_exists,
            project_id: it.project,
            trigger: it.trigger,
            status: it.status,
            archive,
            detail: it.detail,
            requested_by: it.requested_by,
            progress: it.progress.map(progress),
            size_bytes: it.size_bytes,
            data_bytes: it.data_bytes,
            files: it.files,
            freeze_ms: it.freeze_ms,
            skipped: it.skipped,
            engine: it.engine,
            engine_version: it.engine_version,
            sha256: it.sha256,
            created_at: it.created_at,
            started_at: it.started_at,
            finished_at: it.finished_at,
            verification: it.verification.into(),
            offsite: it.offsite.into(),
        }
    }
}

impl From<Verification> for VerificationView {
    fn from(it: Verification) -> Self {
        Self {
            detail: it.words(),
            status: it.status,
            level: it.level,
            at: it.at,
        }
    }
}

impl From<Offsite> for OffsiteView {
    fn from(it: Offsite) -> Self {
        Self {
            status: it.status,
            detail: it.detail,
            at: it.at,
            fetching: it.fetching,
        }
    }
}
