use chrono::{DateTime, Utc};

use crate::{identity::Role, kernel::ProjectId};

/// A project as one user sees it.
#[derive(Clone, Debug)]
pub(in crate::identity) struct Project {
    pub(super) id: ProjectId,
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) instance_count: i64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) deleting_at: Option<DateTime<Utc>>,
}
