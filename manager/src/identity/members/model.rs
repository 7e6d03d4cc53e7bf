use chrono::{DateTime, Utc};

use crate::{
    identity::Role,
    kernel::{ProjectId, UserId},
};

/// A membership to be.
pub(super) struct NewMember {
    pub(super) project: ProjectId,
    pub(super) user: UserId,
    pub(super) role: Role,
}

#[derive(Clone, Debug)]
pub(in crate::identity) struct Member {
    pub(super) user: UserId,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) created_at: DateTime<Utc>,
}
