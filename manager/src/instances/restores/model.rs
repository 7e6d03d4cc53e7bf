use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    engines::Module,
    instances::model::text_enum,
    kernel::{InstanceId, ProjectId, RestoreId},
};

text_enum! {
    /// What an instance is restored from.
    SourceKind {
        Snapshot = "snapshot",
        Backup = "backup",
    }
}

text_enum! {
    /// How far a restore is. The last three are final.
    RestoreState {
        /// The files are put beside; the instance runs on.
        Preparing = "preparing",
        Stopping = "stopping",
        /// The running engine takes in what was put beside.
        Applying = "applying",
        /// The files are exchanged, and the instance has to prove itself.
        Starting = "starting",
        /// It did not: what was there before is put back.
        Undoing = "undoing",
        Done = "done",
        /// What was there before is there again.
        Undone = "undone",
        /// Nothing was touched.
        Failed = "failed",
    }
}

#[derive(Clone, Debug)]
pub struct Restore {
    pub id: RestoreId,
    pub instance: InstanceId,
    pub project: ProjectId,
    pub source_kind: SourceKind,
    pub source_id: Uuid,
    pub source_name: String,
    /// The instance was made for the data: it is not started before they are in
    /// place, and deleted when they do not come.
    pub takes_back: bool,
    pub state: RestoreState,
    /// Why, in words for a person.
    pub detail: Option<String>,
    /// Bytes put beside so far, and in all.
    pub progress: Option<(i64, i64)>,
    pub requested_by: String,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// What an instance is to be restored from.
#[derive(Clone, Debug)]
pub struct NewRestore {
    pub source_kind: SourceKind,
    pub source_id: Uuid,
    /// As a person knows it.
    pub source_name: String,
}

/// What of the data folder is exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entries {
    /// All of it: what is staged becomes the data folder.
    Whole,
    /// These names in it; one that is not staged is removed.
    Files(Vec<String>),
    /// Nothing: the running engine is handed what is staged.
    Handed,
}

/// How a staged restore is carried out.
#[derive(Clone, Debug)]
pub struct Plan {
    pub entries: Entries,
    /// Installed after the start; the restore is undone when one cannot be.
    pub modules: Vec<Module>,
}
