use crate::{
    db,
    kernel::{DomainError, Kind},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("The database does not answer; try again in a moment.")]
    Db(#[from] sqlx::Error),
}

impl DomainError for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Db(error) => db::kind(error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Db(_) => "database",
        }
    }
}
