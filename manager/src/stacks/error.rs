use crate::{
    crypto::KeyRingError,
    databases, db, identity,
    kernel::{DomainError, Kind},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("There is no such stack.")]
    StackNotFound,
    #[error("There is no such template.")]
    TemplateNotFound,
    #[error("A name is 1 to 100 characters.")]
    BadName,
    #[error("An image reference looks like openflow/node-red:5.")]
    BadImage,
    #[error("{0} cannot keep its data in PostgreSQL; say \"files\".")]
    NoPostgres(&'static str),
    #[error(transparent)]
    Databases(#[from] databases::Error),
    #[error("There is one of that name already.")]
    NameTaken,
    #[error("It is in use by {0}; change or delete that first.")]
    InUse(String),
    #[error("The stack {name} is not ready: {why}")]
    NotReady { name: String, why: String },
    #[error("No stack is marked as the default for this engine; name one.")]
    NoDefault,
    #[error("{0}")]
    BadEnv(String),
    #[error("{detail}")]
    BadTemplate { field: &'static str, detail: String },
    #[error("A stored secret cannot be opened: {0}. Check OPENFLOW_SECRET_KEYS.")]
    Sealed(#[from] KeyRingError),
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("The database does not answer; try again in a moment.")]
    Db(#[from] sqlx::Error),
}

impl Error {
    pub(super) fn bad_env(detail: String) -> Self {
        Self::BadEnv(detail)
    }
}

impl DomainError for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::StackNotFound | Self::TemplateNotFound => Kind::NotFound,
            Self::BadName
            | Self::BadImage
            | Self::NoPostgres(_)
            | Self::BadEnv(_)
            | Self::BadTemplate { .. } => Kind::Invalid,
            Self::NameTaken
            | Self::InUse(_)
            | Self::NotReady { .. }
            | Self::NoDefault
            | Self::Databases(_) => Kind::Conflict,
            Self::Sealed(_) => Kind::Internal,
            Self::Identity(inner) => inner.kind(),
            Self::Db(error) => db::kind(error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::StackNotFound => "stack.not_found",
            Self::TemplateNotFound => "template.not_found",
            Self::BadName => "stack.bad_name",
            Self::BadImage => "stack.bad_image",
            Self::NoPostgres(_) => "stack.no_postgres",
            Self::Databases(_) => "stack.database_server",
            Self::NameTaken => "stack.name_taken",
            Self::InUse(_) => "stack.in_use",
            Self::NotReady { .. } => "stack.not_ready",
            Self::NoDefault => "stack.no_default",
            Self::BadEnv(_) => "env.invalid",
            Self::BadTemplate { .. } => "template.invalid",
            Self::Sealed(_) => "internal",
            Self::Identity(inner) => inner.code(),
            Self::Db(_) => "database",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::BadName => Some("name"),
            Self::BadImage => Some("image"),
            Self::NoPostgres(_) | Self::Databases(_) => Some("storage"),
            Self::BadEnv(_) => Some("env"),
            Self::BadTemplate { field, .. } => Some(field),
            Self::Identity(inner) => inner.field(),
            _ => None,
        }
    }
}
