use chrono::{DateTime, Utc};

use crate::{identity::Role, kernel::UserId};

#[derive(Clone, Debug)]
pub(in crate::identity) struct Member {
    pub(super) user: UserId,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) created_at: DateTime<Utc>,
}
