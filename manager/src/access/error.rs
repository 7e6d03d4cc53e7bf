use crate::{
    crypto::KeyRingError,
    db, identity,
    kernel::{DomainError, Kind},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "This link was used already or has expired. Launch the instance again from the dashboard."
    )]
    NotRedeemable,
    #[error("The shared secret is missing or wrong.")]
    WrongSecret,
    #[error("A stored secret cannot be opened: {0}. Check OPENFLOW_SECRET_KEYS.")]
    Sealed(#[from] KeyRingError),
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("The database does not answer; try again in a moment.")]
    Db(#[from] sqlx::Error),
}

impl DomainError for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NotRedeemable => Kind::Gone,
            Self::WrongSecret => Kind::Unauthenticated,
            Self::Sealed(_) => Kind::Internal,
            Self::Identity(inner) => inner.kind(),
            Self::Db(error) => db::kind(error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotRedeemable => "access_token.not_redeemable",
            Self::WrongSecret => "auth.wrong_secret",
            Self::Sealed(_) => "internal",
            Self::Identity(inner) => inner.code(),
            Self::Db(_) => "database",
        }
    }
}
