use super::model::Invalid;
use crate::{
    db, identity,
    kernel::{DomainError, Kind},
    mqtt::BrokerError,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(
        "So many people watch this project's messages, or this installation's, that no more can. Close a tab, or try again later."
    )]
    TooManyWatchers,
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("The database does not answer; try again in a moment.")]
    Db(#[from] sqlx::Error),
}

impl DomainError for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) => Kind::Invalid,
            Self::TooManyWatchers => Kind::RateLimited,
            Self::Broker(inner) => inner.kind(),
            Self::Identity(inner) => inner.kind(),
            Self::Db(error) => db::kind(error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(inner) => inner.code,
            Self::TooManyWatchers => "mqtt.too_many_watchers",
            Self::Broker(inner) => inner.code(),
            Self::Identity(inner) => inner.code(),
            Self::Db(_) => "database",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid(inner) => Some(inner.field),
            Self::Identity(inner) => inner.field(),
            _ => None,
        }
    }
}
