/// What sort of failure it is. A transport turns it into its own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that we understand and do not accept.
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    /// It was there once and is used up.
    Gone,
    LimitReached,
    /// More bytes than are taken.
    TooLarge,
    RateLimited,
    /// Something we depend on is away; trying again may help.
    Unavailable,
    Internal,
}

/// Each slice's `Error` says its kind and its stable, documented code. The
/// message (`Display`) is for the person who asked: what to do, no internals.
pub trait DomainError: std::error::Error + Send + Sync + 'static {
    fn kind(&self) -> Kind;
    /// `slice.what_happened`, as in `instance.subdomain_taken`.
    fn code(&self) -> &'static str;
    /// The field of the request's body that is at fault, in camelCase.
    fn field(&self) -> Option<&str> {
        None
    }
    /// Whole seconds after which another try makes sense, where that is known.
    fn retry_after_seconds(&self) -> Option<u64> {
        None
    }
}
