use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};

use crate::kernel::SessionId;

/// From sign-in to the end, used or not.
pub(in crate::identity) const SESSION_LIFE: TimeDelta = TimeDelta::days(30);
const USER_AGENT_CHARS_MAX: usize = 200;

#[derive(Clone, Debug)]
pub(in crate::identity) struct Session {
    pub(super) id: SessionId,
    pub(super) created_at: DateTime<Utc>,
    pub(super) last_seen_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) address: String,
    pub(super) user_agent: String,
}

/// Where a sign-in comes from.
#[derive(Clone, Debug)]
pub(in crate::identity) struct Origin {
    pub(in crate::identity) address: Option<IpAddr>,
    user_agent: String,
}

impl Origin {
    pub(super) fn new(address: Option<IpAddr>, user_agent: &str) -> Self {
        Self {
            address,
            user_agent: user_agent.chars().take(USER_AGENT_CHARS_MAX).collect(),
        }
    }

    pub(super) fn address_text(&self) -> String {
        self.address.map(|it| it.to_string()).unwrap_or_default()
    }

    pub(super) fn user_agent(&self) -> &str {
        &self.user_agent
    }
}
