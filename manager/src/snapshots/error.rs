use super::model::{DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX};
use crate::{
    access,
    crypto::KeyRingError,
    db,
    engines::{CredentialsError, ReadError},
    identity, instances,
    kernel::{DomainError, Kind},
    stacks,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("There is no such snapshot.")]
    NotFound,
    #[error("A name is 1 to {NAME_CHARS_MAX} characters.")]
    BadName,
    #[error("A description is at most {DESCRIPTION_CHARS_MAX} characters.")]
    BadDescription,
    #[error("An instance keeps at most {0} snapshots that people took; delete some.")]
    TooMany(i64),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}: the engine's credentials cannot be read, and nothing was stored.")]
    Credentials(#[from] CredentialsError),
    #[error("The snapshot's secrets cannot be opened: {0}. Check OPENFLOW_SECRET_KEYS.")]
    Sealed(#[from] KeyRingError),
    /// A stored snapshot that nobody can have written.
    #[error("stored snapshot: {0}")]
    Broken(&'static str),
    #[error("This cannot be restored there: {0}")]
    Blocked(String),
    #[error("The files could not be put beside: {0}")]
    Staging(String),
    #[error("A passphrase is 12 to 256 characters.")]
    BadPassphrase,
    #[error("{0}")]
    BadFile(String),
    #[error("The snapshot is of another engine.")]
    OtherEngine,
    #[error("The snapshot is too large for a file that can be imported again.")]
    TooLarge,
    #[error("Only a member of the project may do that from the editor.")]
    NotAMember,
    #[error("There is no such pipeline.")]
    PipelineNotFound,
    #[error("The project has a pipeline of that name already.")]
    PipelineNameTaken,
    #[error("A project has at most {0} pipelines; delete one.")]
    TooManyPipelines(i64),
    #[error("{0}")]
    BadStages(&'static str),
    #[error("The instance is not a stage of this pipeline.")]
    NotAStage,
    #[error("The instance is the pipeline's last stage: there is nothing to promote to.")]
    LastStage,
    #[error(transparent)]
    Instances(#[from] instances::Error),
    #[error(transparent)]
    Access(#[from] access::Error),
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error(transparent)]
    Stacks(#[from] stacks::Error),
    #[error("The database does not answer; try again in a moment.")]
    Db(#[from] sqlx::Error),
}

impl Error {
    /// Whether it is the instance's own content that is at fault. Flows that are
    /// just being written ([`Error::Busy`]) are in order: in a moment they can be
    /// read, and kept.
    pub(super) fn is_of_content(&self) -> bool {
        matches!(
            self,
            Self::Read(ReadError::NoData | ReadError::Unreadable(_)) | Self::Credentials(_)
        )
    }
}

impl DomainError for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound | Self::PipelineNotFound => Kind::NotFound,
            Self::BadName
            | Self::BadDescription
            | Self::BadPassphrase
            | Self::BadFile(_)
            | Self::OtherEngine
            | Self::BadStages(_)
            | Self::NotAStage => Kind::Invalid,
            Self::Read(ReadError::NoData | ReadError::Unreadable(_))
            | Self::Credentials(_)
            | Self::Sealed(_)
            | Self::Blocked(_)
            | Self::TooLarge
            | Self::PipelineNameTaken
            | Self::LastStage => Kind::Conflict,
            Self::TooMany(_) | Self::TooManyPipelines(_) => Kind::LimitReached,
            Self::Read(ReadError::Busy | ReadError::Away(_)) | Self::Staging(_) => {
                Kind::Unavailable
            }
            Self::NotAMember => Kind::Forbidden,
            Self::Broken(_) => Kind::Internal,
            Self::Instances(inner) => inner.kind(),
            Self::Access(inner) => inner.kind(),
            Self::Identity(inner) => inner.kind(),
            Self::Stacks(inner) => inner.kind(),
            Self::Db(error) => db::kind(error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "snapshot.not_found",
            Self::BadName => "snapshot.bad_name",
            Self::BadDescription => "snapshot.bad_description",
            Self::TooMany(_) => "snapshot.too_many",
            Self::Read(ReadError::NoData) => "snapshot.no_data",
            Self::Read(ReadError::Unreadable(_)) => "snapshot.unreadable",
            Self::Read(ReadError::Busy) => "snapshot.busy",
            Self::Read(ReadError::Away(_)) => "snapshot.away",
            Self::Credentials(_) => "snapshot.wrong_key",
            Self::Sealed(_) => "snapshot.sealed",
            Self::Broken(_) => "internal",
            Self::Blocked(_) => "snapshot.blocked",
            Self::Staging(_) => "snapshot.staging",
            Self::BadPassphrase => "snapshot.bad_passphrase",
            Self::BadFile(_) => "snapshot.bad_file",
            Self::OtherEngine => "snapshot.other_engine",
            Self::TooLarge => "snapshot.too_large",
            Self::NotAMember => "snapshot.not_a_member",
            Self::PipelineNotFound => "pipeline.not_found",
            Self::PipelineNameTaken => "pipeline.name_taken",
            Self::TooManyPipelines(_) => "pipeline.too_many",
            Self::BadStages(_) => "pipeline.bad_stages",
            Self::NotAStage => "pipeline.not_a_stage",
            Self::LastStage => "pipeline.last_stage",
            Self::Instances(inner) => inner.code(),
            Self::Access(inner) => inner.code(),
            Self::Identity(inner) => inner.code(),
            Self::Stacks(inner) => inner.code(),
            Self::Db(_) => "database",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::BadName | Self::PipelineNameTaken => Some("name"),
            Self::BadDescription => Some("description"),
            Self::BadPassphrase => Some("passphrase"),
            Self::BadFile(_) | Self::OtherEngine => Some("snapshot"),
            Self::BadStages(_) => Some("stages"),
            Self::NotAStage => Some("instanceId"),
            Self::Instances(inner) => inner.field(),
            Self::Identity(inner) => inner.field(),
            Self::Stacks(inner) => inner.field(),
            _ => None,
        }
    }
}
