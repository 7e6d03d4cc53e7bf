use crate::kernel::Kind;

/// What sort of failure a database error is for the one who asked: away for
/// now (503), or ours (500).
pub fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::WorkerCrashed => Kind::Unavailable,
        // 08: connection; 53: out of disk, memory or connections; 57P: shutting
        // down or starting up; 40001 and 40P01: lost a race, try again.
        sqlx::Error::Database(db) => match db.code().as_deref() {
            Some("57014" | "40001" | "40P01") => Kind::Unavailable,
            Some(code) if ["08", "53", "57P"].iter().any(|it| code.starts_with(it)) => {
                Kind::Unavailable
            }
            _ => Kind::Internal,
        },
        // The server hung up in the middle of a message.
        sqlx::Error::Protocol(_) => Kind::Unavailable,
        _ => Kind::Internal,
    }
}

/// Whether `error` is the violation of the named constraint or unique index.
pub fn is_violation(error: &sqlx::Error, constraint: &str) -> bool {
    matches!(error, sqlx::Error::Database(db) if db.constraint() == Some(constraint))
}
