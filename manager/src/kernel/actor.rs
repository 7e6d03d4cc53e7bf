use std::net::IpAddr;

use super::{SessionId, UserId};

/// Who asks. Every service function that acts for somebody takes one.
#[derive(Clone, Debug)]
pub enum Actor {
    User(UserActor),
    /// The bearer of the one-time setup token, before there is any user.
    Setup {
        address: Option<IpAddr>,
    },
    /// A background job, by name. It may do anything, and the audit log says so.
    System(&'static str),
}

/// A signed-in person and how they came in.
#[derive(Clone, Debug)]
pub struct UserActor {
    pub id: UserId,
    pub name: String,
    /// Administrator of the installation: owner of every project.
    pub is_admin: bool,
    /// The dashboard session; `None` for a personal access token.
    pub session: Option<SessionId>,
    pub address: Option<IpAddr>,
}

impl Actor {
    pub fn user(&self) -> Option<&UserActor> {
        match self {
            Self::User(user) => Some(user),
            Self::Setup { .. } | Self::System(_) => None,
        }
    }

    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::User(user) => user.address,
            Self::Setup { address } => *address,
            Self::System(_) => None,
        }
    }
}
