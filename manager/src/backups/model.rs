use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    audit::Event,
    engines::{Engine, Storage},
    instances::text_enum,
    kernel::{BackupId, InstanceId, ProjectId},
};

/// So many of what was left out are kept and shown; the detail tells the number.
pub(super) const SKIPPED_MAX: usize = 20;
/// A folder with more files and folders is refused by its verification.
pub(super) const ENTRIES_MAX: u64 = 2_000_000;

text_enum! {
    /// Why a backup was made.
    Trigger {
        Schedule = "schedule",
        Manual = "manual",
        /// Somebody brought the file.
        Upload = "upload",
    }
}

text_enum! {
    /// Only `good` and `partial` ones can be restored.
    BackupStatus {
        /// It waits for its turn.
        Pending = "pending",
        Running = "running",
        /// All files as they were at one moment, read back and compared.
        Good = "good",
        /// Read back and compared, but something was left out or changed while
        /// it was read: `detail` and `skipped` say what.
        Partial = "partial",
        Failed = "failed",
    }
}

text_enum! {
    /// Whether it was tried that the backup can be restored.
    VerificationStatus {
        None = "none",
        Pending = "pending",
        Running = "running",
        Good = "good",
        Failed = "failed",
    }
}

text_enum! {
    /// How deep a verification goes.
    VerificationLevel {
        /// Read back and compared with its manifest.
        Read = "read",
        /// Started in a throwaway container.
        Rehearsed = "rehearsed",
    }
}

text_enum! {
    /// The copy in the bucket.
    OffsiteStatus {
        /// There is none to be.
        Off = "off",
        Pending = "pending",
        Uploading = "uploading",
        Done = "done",
        Failed = "failed",
    }
}

#[derive(Clone, Debug)]
pub struct Backup {
    pub id: BackupId,
    pub instance: InstanceId,
    pub project: ProjectId,
    pub instance_name: String,
    /// Whether the instance is still there.
    pub instance_exists: bool,
    pub trigger: Trigger,
    pub status: BackupStatus,
    /// Why it is not good, in words for a person.
    pub detail: Option<String>,
    pub requested_by: String,
    pub engine: Engine,
    pub engine_version: String,
    pub attempt: i32,
    /// Bytes read so far, and in all.
    pub progress: Option<(i64, i64)>,
    /// In the instance's folder of backups; `None` until it is whole.
    pub file_name: Option<String>,
    pub size_bytes: Option<i64>,
    pub data_bytes: Option<i64>,
    pub files: Option<i64>,
    pub freeze_ms: Option<i64>,
    /// At most [`SKIPPED_MAX`].
    pub skipped: Vec<SkippedFile>,
    pub sha256: Option<String>,
    pub about: Option<About>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub verification: Verification,
    pub offsite: Offsite,
}

/// The archive in the folder of backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = BackupArchive)]
pub(super) enum Archive {
    /// There is none: the backup waits, runs or has failed.
    None,
    Here,
    /// It should be here, and is not.
    Gone,
    /// It is not what was made, and cannot be restored.
    Damaged,
}

/// A backup with what is only seen by a look into the folder.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) backup: Backup,
    pub(super) archive: Archive,
}

/// A file that is not in the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SkippedFile)]
pub struct SkippedFile {
    pub path: String,
    pub reason: String,
}

#[derive(Clone, Debug)]
pub struct Verification {
    pub status: VerificationStatus,
    /// How deep a pending or running one goes.
    pub wanted: Option<VerificationLevel>,
    /// How deep the last one went, and what it said.
    pub level: Option<VerificationLevel>,
    pub detail: Option<String>,
    pub at: Option<DateTime<Utc>>,
    /// A later one that this host could not carry through: when, and why.
    pub unable: Option<(DateTime<Utc>, String)>,
}

impl Verification {
    pub fn is_open(&self) -> bool {
        matches!(
            self.status,
            VerificationStatus::Pending | VerificationStatus::Running
        )
    }

    /// What is known, in words for a person; nothing while one waits or runs.
    pub fn words(&self) -> Option<String> {
        if self.is_open() {
            return None;
        }
        let unable = self.unable.as_ref().map(|(at, why)| {
            let at = at.format("%Y-%m-%d %H:%M UTC");
            format!("the try of {at} could not run: {why}")
        });
        match (self.detail.as_deref(), unable) {
            (None | Some(""), unable) => unable,
            (Some(detail), None) => Some(detail.to_owned()),
            (Some(detail), Some(unable)) => Some(format!("{detail}; {unable}")),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Offsite {
    pub status: OffsiteStatus,
    pub detail: Option<String>,
    pub at: Option<DateTime<Utc>>,
    /// In the bucket.
    pub key: Option<String>,
    /// The file is to be fetched back from there.
    pub fetching: bool,
}

/// What the manifest says of the archive's origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// [`About::FORMAT`].
    pub format: String,
    pub version: u32,
    pub backup_id: BackupId,
    pub instance_id: InstanceId,
    pub instance_name: String,
    pub project_id: ProjectId,
    pub engine: Engine,
    /// Where the instance's data was: a dump is among the files, or it is not.
    #[serde(default)]
    pub storage: Storage,
    /// Empty when it was not known.
    pub engine_version: String,
    /// Of the Openflow that wrote it.
    pub openflow_version: String,
    /// Names of the environment variables that the instance had; no values.
    pub env: Vec<String>,
    /// The instance's credential secret, sealed with the key ring for
    /// [`credential_place`], in base64.
    pub credential_secret: String,
}

impl About {
    pub const FORMAT: &'static str = "openflow-backup";
    pub const VERSION: u32 = 1;
}

/// Where the credential secret in a manifest is sealed for. Whoever changes the
/// project in a manifest has a secret that does not open.
pub fn credential_place(id: BackupId, project: ProjectId) -> String {
    format!("projects/{project}/backups/{id}/credential_secret")
}

impl Backup {
    /// As a person knows it: `Shop, 2026-11-20 02:14 UTC`.
    pub fn title(&self) -> String {
        let at = self.created_at.format("%Y-%m-%d %H:%M UTC");
        format!("{}, {at}", self.instance_name)
    }

    pub fn is_restorable(&self) -> bool {
        matches!(self.status, BackupStatus::Good | BackupStatus::Partial)
            && self.file_name.is_some()
    }

    /// The file is not what was made: its verification says so.
    pub(super) fn is_damaged(&self) -> bool {
        self.status == BackupStatus::Failed && self.file_name.is_some()
    }

    /// Whether it waits or runs.
    pub fn is_open(&self) -> bool {
        matches!(self.status, BackupStatus::Pending | BackupStatus::Running)
    }

    /// What the browser saves a download as.
    pub(super) fn download_name(&self) -> String {
        let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = self.instance_name.chars().take(60).map(safe).collect();
        let name = name.trim_matches('-').to_ascii_lowercase();
        let stamp = self.created_at.format(STAMP);
        match name.is_empty() {
            true => format!("backup-{stamp}.tar.gz"),
            false => format!("{name}-{stamp}.tar.gz"),
        }
    }

    /// A line of the audit log about it.
    pub(super) fn event(&self, action: &'static str) -> Event {
        Event::new(action, Some(self.project), "backup", self.id, self.title())
            .with(serde_json::json!({ "instanceId": self.instance }))
    }
}

/// In file names: UTC, to the second.
pub(super) const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// What a running backup came to.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) status: BackupStatus,
    pub(super) detail: Option<String>,
    pub(super) file_name: String,
    pub(super) size_bytes: u64,
    pub(super) data_bytes: u64,
    pub(super) files: u64,
    pub(super) freeze_ms: Option<u64>,
    pub(super) skipped: Vec<SkippedFile>,
    pub(super) sha256: String,
    pub(super) about: About,
}

/// How an instance's backups differ from the installation's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enabled: bool,
    /// `None` inherits.
    pub(super) schedule: Option<String>,
    /// `None` inherits.
    pub(super) keep: Option<Keep>,
}

/// How many days, weeks and months one backup each is kept of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BackupKeep)]
pub struct Keep {
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
}

/// One leader's time in office.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term(pub(super) Uuid);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_tell_the_last_result_and_a_later_try_that_could_not_run() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let words = |status, detail: Option<&str>, unable: Option<&str>| {
            let it = Verification {
                status,
                wanted: None,
                level: Some(VerificationLevel::Rehearsed),
                detail: detail.map(str::to_owned),
                at: Some(at),
                unable: unable.map(|it| (at, it.to_owned())),
            };
            it.words().unwrap_or_default()
        };
        let (good, failed) = (VerificationStatus::Good, VerificationStatus::Failed);
        for (it, expected) in [
            (words(good, None, None), ""),
            (words(failed, Some("bad"), None), "bad"),
            (
                words(good, None, Some("away")),
                "the try of 2027-01-15 08:00 UTC could not run: away",
            ),
            (
                words(failed, Some("bad"), Some("away")),
                "bad; the try of 2027-01-15 08:00 UTC could not run: away",
            ),
            (
                words(VerificationStatus::Running, Some("bad"), Some("x")),
                "",
            ),
        ] {
            assert_eq!(it, expected);
        }
    }

    #[test]
    fn a_text_is_the_same_in_the_database_and_in_json() {
        assert_eq!(json!(Trigger::Schedule), Trigger::Schedule.as_str());
        for status in [BackupStatus::Good, BackupStatus::Partial] {
            assert_eq!(json!(status), status.as_str());
        }
        let level = VerificationLevel::Rehearsed;
        assert_eq!(json!(level), level.as_str());
        assert_eq!(
            json!(OffsiteStatus::Uploading),
            OffsiteStatus::Uploading.as_str()
        );
    }
}
