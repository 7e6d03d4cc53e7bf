use super::{Role, model};
use crate::{
    db,
    kernel::{DomainError, Kind},
};

/// A value of the body that is not accepted.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    pub(super) code: &'static str,
    pub(super) field: &'static str,
    pub(super) message: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),

    #[error("No account has this email and password, or it is disabled.")]
    BadCredentials,
    #[error("Too many tries to sign in. Wait {0} seconds, then try again.")]
    TooManyTries(u64),
    #[error(
        "This access token is unknown, expired or revoked. Make a new one under your account's tokens."
    )]
    BadToken,
    #[error("This access token only reads. Use one with the scope `write`.")]
    ReadOnlyToken,
    #[error("This session is not among yours.")]
    SessionNotFound,
    #[error("This access token is not among yours.")]
    TokenNotFound,
    #[error(
        "You have {} access tokens, the most there can be. Delete one first.",
        model::TOKENS_PER_USER_MAX
    )]
    TooManyTokens,

    #[error("The setup link is wrong or was replaced. Take the newest one from the manager's log.")]
    BadSetupToken,
    #[error("The first administrator exists already. Sign in instead.")]
    SetupDone,

    #[error("Only an administrator may do this.")]
    AdminRequired,
    #[error("There is no such user.")]
    UserNotFound,
    #[error("Another user has this email address.")]
    EmailTaken,
    #[error("There are {} users, the most there can be.", model::USERS_MAX)]
    TooManyUsers,
    #[error("This is the last active administrator. Make another user an administrator first.")]
    LastAdmin,
    #[error("This user is the only owner of: {0}. Give each another owner, or delete it, first.")]
    OnlyOwner(String),

    #[error("There is no such project, or you are not a member of it.")]
    ProjectNotFound,
    #[error("You need the role {} in this project. Ask one of its owners.", .0.as_str())]
    RoleRequired(Role),
    #[error("This project is being deleted and takes no more changes.")]
    ProjectDeleting,
    #[error(
        "You own {} projects, the most there can be. Delete one first.",
        model::PROJECTS_PER_OWNER_MAX
    )]
    TooManyProjects,
    #[error("This user is not a member of the project.")]
    MemberNotFound,
    #[error("This user is a member of the project already. Change the role instead.")]
    AlreadyMember,
    #[error(
        "This project has {} members, the most there can be.",
        model::MEMBERS_PER_PROJECT_MAX
    )]
    TooManyMembers,
    #[error("This is the project's last owner. Make another member an owner first.")]
    LastOwner,

    #[error("The database does not answer; try again in a moment.")]
    Db(#[from] sqlx::Error),
}

impl DomainError for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) => Kind::Invalid,
            Self::BadCredentials | Self::BadToken => Kind::Unauthenticated,
            Self::TooManyTries(_) => Kind::RateLimited,
            Self::ReadOnlyToken
            | Self::BadSetupToken
            | Self::AdminRequired
            | Self::RoleRequired(_) => Kind::Forbidden,
            Self::SetupDone => Kind::Gone,
            Self::SessionNotFound
            | Self::TokenNotFound
            | Self::UserNotFound
            | Self::ProjectNotFound
            | Self::MemberNotFound => Kind::NotFound,
            Self::EmailTaken
            | Self::LastAdmin
            | Self::OnlyOwner(_)
            | Self::ProjectDeleting
            | Self::AlreadyMember
            | Self::LastOwner => Kind::Conflict,
            Self::TooManyTokens
            | Self::TooManyUsers
            | Self::TooManyProjects
            | Self::TooManyMembers => Kind::LimitReached,
            Self::Db(error) => db::kind(error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code,
            Self::BadCredentials => "auth.bad_credentials",
            Self::TooManyTries(_) => "auth.too_many_tries",
            Self::BadToken => "token.invalid",
            Self::ReadOnlyToken => "token.read_only",
            Self::SessionNotFound => "session.not_found",
            Self::TokenNotFound => "token.not_found",
            Self::TooManyTokens => "token.too_many",
            Self::BadSetupToken => "setup.bad_token",
            Self::SetupDone => "setup.done",
            Self::AdminRequired => "admin.required",
            Self::UserNotFound => "user.not_found",
            Self::EmailTaken => "user.email_taken",
            Self::TooManyUsers => "user.too_many",
            Self::LastAdmin => "user.last_admin",
            Self::OnlyOwner(_) => "user.only_owner",
            Self::ProjectNotFound => "project.not_found",
            Self::RoleRequired(_) => "project.role_required",
            Self::ProjectDeleting => "project.deleting",
            Self::TooManyProjects => "project.too_many",
            Self::MemberNotFound => "member.not_found",
            Self::AlreadyMember => "member.exists",
            Self::TooManyMembers => "member.too_many",
            Self::LastOwner => "member.last_owner",
            Self::Db(_) => "database",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid(invalid) => Some(invalid.field),
            _ => None,
        }
    }

    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::TooManyTries(seconds) => Some(*seconds),
            _ => None,
        }
    }
}

impl DomainError for Invalid {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }

    fn code(&self) -> &'static str {
        self.code
    }

    fn field(&self) -> Option<&str> {
        Some(self.field)
    }
}
