use crate::{
    access, audit,
    crypto::KeyRingError,
    databases, db,
    engines::Engine,
    identity,
    kernel::{DomainError, Kind},
    runtime, stacks,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("There is no such instance.")]
    NotFound,
    #[error("There is no such alias.")]
    AliasNotFound,
    #[error("A name is 1 to 100 characters.")]
    BadName,
    #[error("A subdomain or alias is 1 to 63 lower-case letters, digits and inner dashes.")]
    BadHostname { field: &'static str },
    #[error("{name} is reserved; choose another name.")]
    ReservedHostname { field: &'static str, name: String },
    #[error("{name} is taken; subdomains and aliases are unique over the installation.")]
    HostnameTaken { field: &'static str, name: String },
    #[error("An instance has at most {0} aliases.")]
    TooManyAliases(i64),
    #[error(
        "A project holds at most {0} instances; delete one, or ask the operator to raise the limit."
    )]
    TooMany(i64),
    #[error(
        "An instance has at most {memory_mb} MiB of memory and {cpus} cores here; ask for less, or ask the operator to raise the limit."
    )]
    OverLimit { memory_mb: i32, cpus: f64 },
    #[error("There is no such restore.")]
    RestoreNotFound,
    #[error("Another restore of this instance is under way; wait for it to end.")]
    RestoreUnderWay,
    #[error(
        "A backup of this instance is being made; wait for it to end, or delete it to cancel it."
    )]
    BackupRuns,
    #[error(
        "The restore was given up, because nothing was heard of it for too long. Restore again."
    )]
    RestoreGivenUp,
    #[error("Another copy of this instance's data is being made; try again in a moment.")]
    Frozen,
    #[error("The instance is being deleted.")]
    Deleting,
    #[error("The instance is {0}; start it first.")]
    NotRunning(&'static str),
    #[error("An instance keeps its engine; the stack is for another one.")]
    OtherEngine,
    #[error(
        "An instance keeps where its data is, and the stack is for another place (files or PostgreSQL). Make a new instance of that stack and promote a snapshot to it."
    )]
    OtherStorage,
    #[error("{} needs at least {} MiB of memory: {}.", .0.facts().title, .0.facts().memory_mb_min, .0.facts().memory_why)]
    TooLittleMemory(Engine),
    #[error("{detail}")]
    BadWebhookAccess { detail: &'static str },
    #[error("next is a path that begins with one slash.")]
    BadNext,
    #[error("Cannot make the data folder: {0}")]
    DataFolder(String),
    #[error("Only a person can open an editor.")]
    NotAPerson,
    #[error("A stored secret cannot be opened: {0}. Check OPENFLOW_SECRET_KEYS.")]
    Sealed(#[from] KeyRingError),
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Databases(#[from] databases::Error),
    #[error("{0}")]
    NotDumped(String),
    #[error(transparent)]
    Stacks(#[from] stacks::Error),
    #[error(transparent)]
    Access(#[from] access::Error),
    #[error(transparent)]
    Audit(#[from] audit::Error),
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("The database does not answer; try again in a moment.")]
    Db(#[from] sqlx::Error),
}

impl DomainError for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound | Self::AliasNotFound | Self::RestoreNotFound => Kind::NotFound,
            Self::BadName
            | Self::BadHostname { .. }
            | Self::ReservedHostname { .. }
            | Self::OverLimit { .. }
            | Self::OtherEngine
            | Self::OtherStorage
            | Self::TooLittleMemory(_)
            | Self::BadWebhookAccess { .. }
            | Self::BadNext => Kind::Invalid,
            Self::HostnameTaken { .. }
            | Self::Deleting
            | Self::NotRunning(_)
            | Self::RestoreUnderWay
            | Self::Frozen
            | Self::BackupRuns
            | Self::RestoreGivenUp => Kind::Conflict,
            Self::TooManyAliases(_) | Self::TooMany(_) => Kind::LimitReached,
            Self::NotAPerson => Kind::Forbidden,
            Self::DataFolder(_) | Self::Databases(_) | Self::NotDumped(_) => Kind::Unavailable,
            Self::Sealed(_) => Kind::Internal,
            Self::Runtime(runtime::Error::NoContainer) => Kind::Conflict,
            Self::Runtime(_) => Kind::Unavailable,
            Self::Stacks(inner) => inner.kind(),
            Self::Access(inner) => inner.kind(),
            Self::Audit(inner) => inner.kind(),
            Self::Identity(inner) => inner.kind(),
            Self::Db(error) => db::kind(error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "instance.not_found",
            Self::AliasNotFound => "instance.alias_not_found",
            Self::BadName => "instance.bad_name",
            Self::BadHostname { .. } => "instance.bad_hostname",
            Self::ReservedHostname { .. } => "instance.reserved_hostname",
            Self::HostnameTaken { .. } => "instance.hostname_taken",
            Self::TooManyAliases(_) => "instance.too_many_aliases",
            Self::TooMany(_) => "instance.too_many",
            Self::OverLimit { .. } => "instance.over_limit",
            Self::DataFolder(_) => "instance.data_folder",
            Self::RestoreNotFound => "restore.not_found",
            Self::RestoreUnderWay => "restore.under_way",
            Self::BackupRuns => "restore.backup_runs",
            Self::RestoreGivenUp => "restore.given_up",
            Self::Frozen => "instance.frozen",
            Self::Deleting => "instance.deleting",
            Self::NotRunning(_) => "instance.not_running",
            Self::OtherEngine => "instance.other_engine",
            Self::OtherStorage => "instance.other_storage",
            Self::Databases(_) => "instance.database_server",
            Self::NotDumped(_) => "instance.not_dumped",
            Self::TooLittleMemory(_) => "instance.too_little_memory",
            Self::BadWebhookAccess { .. } => "instance.bad_webhook_access",
            Self::BadNext => "instance.bad_next",
            Self::NotAPerson => "instance.not_a_person",
            Self::Sealed(_) => "internal",
            Self::Runtime(runtime::Error::NoContainer) => "instance.no_container",
            Self::Runtime(_) => "runtime.unavailable",
            Self::Stacks(inner) => inner.code(),
            Self::Access(inner) => inner.code(),
            Self::Audit(inner) => inner.code(),
            Self::Identity(inner) => inner.code(),
            Self::Db(_) => "database",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::BadName => Some("name"),
            Self::BadHostname { field }
            | Self::ReservedHostname { field, .. }
            | Self::HostnameTaken { field, .. } => Some(field),
            Self::OverLimit { .. } => Some("resources"),
            Self::OtherEngine | Self::OtherStorage => Some("stackId"),
            Self::TooLittleMemory(_) => Some("resources"),
            Self::BadWebhookAccess { .. } => Some("webhookAccess"),
            Self::BadNext => Some("next"),
            Self::Stacks(inner) => inner.field(),
            Self::Identity(inner) => inner.field(),
            _ => None,
        }
    }
}
