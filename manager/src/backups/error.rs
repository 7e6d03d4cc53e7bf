use crate::{
    crypto::KeyRingError,
    db, identity, instances,
    kernel::{DomainError, Kind},
    offsite, snapshots,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("There is no such backup.")]
    NotFound,
    #[error("A backup of this instance waits or runs already; wait for it to end.")]
    UnderWay,
    #[error("This backup still waits or runs; wait for it to end.")]
    NotFinished,
    #[error(
        "A backup that has failed holds nothing to restore, download or verify. Choose another one."
    )]
    NothingInIt,
    #[error(
        "The backup's file {0} is gone from the folder of backups. If there is a copy in the bucket, fetch it first."
    )]
    FileGone(String),
    #[error("The file does not have the range that Range asks for.")]
    BadRange,
    #[error("There is no copy of this backup in the bucket.")]
    NoCopy,
    #[error("This installation has no bucket: OPENFLOW_OFFSITE_URL is not set.")]
    NoBucket,
    #[error(
        "The copy is encrypted, and the key to it is kept elsewhere. Fetch {0} from the bucket, decrypt it with age, and upload the file."
    )]
    CopyEncrypted(String),
    #[error("The copy in the bucket is not the file that was brought there.")]
    CopyDiffers,
    #[error(transparent)]
    Offsite(#[from] offsite::Error),
    #[error("This backup is being verified; wait for it to end.")]
    BeingVerified,
    #[error("{detail}")]
    BadSchedule { detail: String },
    #[error("keep counts 0 to 1000 each, and not all of them 0.")]
    BadKeep,
    #[error("Say either instanceId or newInstance, not both.")]
    TwoTargets,
    #[error(
        "The backup is of {backup}, the instance runs {instance}: choose an instance of the same engine."
    )]
    OtherEngine {
        backup: &'static str,
        instance: &'static str,
    },
    #[error(
        "The instance that was backed up kept its data {backup}, this one keeps it {instance}: choose an instance of a stack like the first one's."
    )]
    OtherStorage {
        backup: &'static str,
        instance: &'static str,
    },
    #[error(
        "The backup was made with version {backup} of the engine, the instance runs {instance}: upgrade the instance first, since the engine may not read newer files."
    )]
    NewerEngine { backup: String, instance: String },
    #[error(
        "The credentials in this backup were sealed with a key that this installation does not have ({0}). Add the key of the installation that made it to OPENFLOW_SECRET_KEYS."
    )]
    WrongKey(KeyRingError),
    #[error("The backup cannot be fitted to the instance: {0}.")]
    NotFitted(String),
    #[error(
        "There is not enough space: {needed_mb} MiB are needed, and {free_mb} MiB are free in {folder}. Free some, or lower OPENFLOW_BACKUP_MIN_FREE_MB."
    )]
    NoSpace {
        needed_mb: u64,
        free_mb: u64,
        folder: String,
    },
    #[error("The file is larger than {0} MiB; OPENFLOW_MAX_BACKUP_UPLOAD_MB sets the limit.")]
    TooLarge(u64),
    #[error("The upload broke off: {0}. Send the file again.")]
    UploadBroken(String),
    #[error("Too many files are being uploaded; try again in a moment.")]
    TooManyUploads,
    #[error(
        "This archive is of a project of this installation in which you are not a member, and it holds that project's secrets. Ask one of its owners to make you a member, or a member to upload it."
    )]
    ForeignProject,
    #[error("This is not a backup that can be used: {0}.")]
    Refused(String),
    #[error("The archive could not be written or read: {0}.")]
    Archive(String),
    #[error("The folder of backups cannot be used: {0}.")]
    Folder(String),
    #[error(transparent)]
    Instances(#[from] instances::Error),
    #[error(transparent)]
    Snapshots(#[from] snapshots::Error),
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("The database does not answer; try again in a moment.")]
    Db(#[from] sqlx::Error),
}

impl DomainError for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound => Kind::NotFound,
            Self::UnderWay
            | Self::NotFinished
            | Self::NothingInIt
            | Self::BeingVerified
            | Self::NoCopy
            | Self::NoBucket
            | Self::CopyEncrypted(_)
            | Self::CopyDiffers
            | Self::OtherEngine { .. }
            | Self::OtherStorage { .. }
            | Self::NewerEngine { .. }
            | Self::WrongKey(_)
            | Self::NoSpace { .. } => Kind::Conflict,
            Self::FileGone(_) => Kind::Gone,
            Self::ForeignProject => Kind::Forbidden,
            Self::BadSchedule { .. }
            | Self::BadKeep
            | Self::BadRange
            | Self::TwoTargets
            | Self::NotFitted(_)
            | Self::Refused(_)
            | Self::UploadBroken(_) => Kind::Invalid,
            Self::TooLarge(_) => Kind::TooLarge,
            Self::TooManyUploads => Kind::RateLimited,
            Self::Archive(_) | Self::Folder(_) | Self::Offsite(_) => Kind::Unavailable,
            Self::Instances(inner) => inner.kind(),
            Self::Snapshots(inner) => inner.kind(),
            Self::Identity(inner) => inner.kind(),
            Self::Db(error) => db::kind(error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "backup.not_found",
            Self::UnderWay => "backup.under_way",
            Self::NotFinished => "backup.not_finished",
            Self::NothingInIt => "backup.nothing_in_it",
            Self::FileGone(_) => "backup.file_gone",
            Self::BeingVerified => "backup.being_verified",
            Self::NoCopy => "backup.no_copy",
            Self::NoBucket => "backup.no_bucket",
            Self::CopyEncrypted(_) => "backup.copy_encrypted",
            Self::CopyDiffers => "backup.copy_differs",
            Self::Offsite(_) => "backup.offsite",
            Self::BadSchedule { .. } => "backup.bad_schedule",
            Self::BadRange => "backup.bad_range",
            Self::BadKeep => "backup.bad_keep",
            Self::TwoTargets => "backup.two_targets",
            Self::OtherEngine { .. } => "backup.other_engine",
            Self::OtherStorage { .. } => "backup.other_storage",
            Self::NewerEngine { .. } => "backup.newer_engine",
            Self::WrongKey(_) => "backup.wrong_key",
            Self::NotFitted(_) => "backup.bad_credentials",
            Self::NoSpace { .. } => "backup.no_space",
            Self::TooLarge(_) => "backup.too_large",
            Self::UploadBroken(_) => "backup.upload_broken",
            Self::TooManyUploads => "backup.too_many_uploads",
            Self::ForeignProject => "backup.foreign_project",
            Self::Refused(_) => "backup.refused",
            Self::Archive(_) => "backup.archive",
            Self::Folder(_) => "backup.folder",
            Self::Instances(inner) => inner.code(),
            Self::Snapshots(inner) => inner.code(),
            Self::Identity(inner) => inner.code(),
            Self::Db(_) => "database",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::BadSchedule { .. } => Some("schedule"),
            Self::BadKeep => Some("keep"),
            Self::TwoTargets => Some("newInstance"),
            Self::Instances(inner) => inner.field(),
            Self::Snapshots(inner) => inner.field(),
            Self::Identity(inner) => inner.field(),
            _ => None,
        }
    }
}
