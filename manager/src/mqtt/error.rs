use super::{BrokerError, clients};
use crate::{
    db, identity,
    kernel::{DomainError, Kind},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("There is no such MQTT client.")]
    ClientNotFound,
    #[error("A name is 1 to 100 characters.")]
    BadName,
    #[error("The project has an MQTT client of that name already.")]
    NameTaken,
    #[error(
        "A project has at most {} MQTT clients; delete one first.",
        clients::PER_PROJECT_MAX
    )]
    TooMany,
    #[error("{detail}")]
    BadPattern {
        /// `publish` or `subscribe`
        field: &'static str,
        detail: String,
    },
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
            Self::ClientNotFound => Kind::NotFound,
            Self::BadName | Self::BadPattern { .. } => Kind::Invalid,
            Self::NameTaken => Kind::Conflict,
            Self::TooMany => Kind::LimitReached,
            Self::Broker(inner) => inner.kind(),
            Self::Identity(inner) => inner.kind(),
            Self::Db(error) => db::kind(error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::ClientNotFound => "mqtt_client.not_found",
            Self::BadName => "mqtt_client.bad_name",
            Self::NameTaken => "mqtt_client.name_taken",
            Self::TooMany => "mqtt_client.too_many",
            Self::BadPattern { .. } => "mqtt_client.bad_pattern",
            Self::Broker(inner) => inner.code(),
            Self::Identity(inner) => inner.code(),
            Self::Db(_) => "database",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::BadName => Some("name"),
            Self::BadPattern { field, .. } => Some(field),
            Self::Identity(inner) => inner.field(),
            _ => None,
        }
    }
}
