use std::{error::Error as StdError, io, path::Path};

use object_store::client::{HttpError, HttpErrorKind};

const WORDS_MAX: usize = 300;

/// Each says which setting to look at, or what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("The settings OPENFLOW_OFFSITE_… cannot be used: {0}.")]
    Settings(String),
    #[error(
        "The store does not know the access key: check OPENFLOW_OFFSITE_ACCESS_KEY, and OPENFLOW_OFFSITE_ENDPOINT when the store is not Amazon's."
    )]
    UnknownKey,
    #[error(
        "The store refuses the signature: OPENFLOW_OFFSITE_SECRET_KEY does not belong to OPENFLOW_OFFSITE_ACCESS_KEY."
    )]
    WrongSecret,
    #[error(
        "The store refuses access ({0}): the key in OPENFLOW_OFFSITE_ACCESS_KEY has to be allowed to list the bucket and to read, write and delete in it."
    )]
    Denied(String),
    #[error("There is no such bucket: make it, or correct OPENFLOW_OFFSITE_URL.")]
    NoBucket,
    #[error("The bucket is in another region: correct OPENFLOW_OFFSITE_REGION{0}.")]
    WrongRegion(String),
    #[error("This host's clock differs too much from the store's: set the clock (NTP).")]
    ClockSkew,
    #[error(
        "The store does not answer ({0}). Check the network and OPENFLOW_OFFSITE_ENDPOINT; it is tried again."
    )]
    Away(String),
    #[error("There is no {0} in the bucket.")]
    NotFound(String),
    #[error("The copy in the bucket is not whole: {there} of {expected} bytes are there.")]
    NotWhole { there: u64, expected: u64 },
    #[error("The file {0} changed while it was copied.")]
    Changed(String),
    #[error("The file {file} cannot be used: {error}.")]
    File { file: String, error: io::Error },
    /// The caller wanted it to end.
    #[error("It was interrupted and goes on later.")]
    Stopped,
    #[error("The store refused: {0}.")]
    Refused(String),
}

impl Error {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = path.display().to_string();
        move |error| Self::File { file, error }
    }

    /// What the store said about `key`.
    pub(super) fn of(error: object_store::Error, key: &str) -> Self {
        let text = error.to_string();
        if let Some(code) = between(&text, "<Code>", "</Code>") {
            return Self::of_code(code, &text, key);
        }
        if text.contains("without LOCATION") {
            return Self::WrongRegion(String::new());
        }
        if let Some(http) = cause::<HttpError>(&error) {
            return match http.kind() {
                HttpErrorKind::Decode | HttpErrorKind::Unknown => Self::Refused(innermost(http)),
                _ => Self::Away(innermost(http)),
            };
        }
        match error {
            // The answer to HEAD has no words.
            object_store::Error::NotFound { .. } => Self::NotFound(key.to_owned()),
            object_store::Error::PermissionDenied { .. } => Self::Denied("403".to_owned()),
            object_store::Error::Unauthenticated { .. } => Self::Denied("401".to_owned()),
            object_store::Error::Precondition { .. } => Self::Changed(key.to_owned()),
            _ if status(&text).is_some_and(is_busy) => Self::Away(cut(&text)),
            _ => Self::Refused(cut(&text)),
        }
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
    fn of_code(code: &str, text: &str, key: &str) -> Self {
        match code {
            "InvalidAccessKeyId" => Self::UnknownKey,
            "SignatureDoesNotMatch" => Self::WrongSecret,
            "NoSuchBucket" | "InvalidBucketName" => Self::NoBucket,
            "NoSuchKey" | "NoSuchUpload" => Self::NotFound(key.to_owned()),
            "RequestTimeTooSkewed" | "RequestExpired" => Self::ClockSkew,
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => {
                let region = between(text, "<Region>", "</Region>");
                Self::WrongRegion(region.map_or(String::new(), |it| format!(" to {}", cut(it))))
            }
            "PreconditionFailed" => Self::Changed(key.to_owned()),
            "SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestTimeout" => {
                Self::Away(code.to_owned())
            }
            _ if status(text) == Some(403) => Self::Denied(cut(code)),
            _ => {
                let message = between(text, "<Message>", "</Message>").unwrap_or_default();
                Self::Refused(cut(format!("{code} {message}").trim_end()))
            }
        }
    }
}

fn is_busy(status: u16) -> bool {
    500 <= status || status == 429 || status == 408
}

fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(inside, _)| inside)
}

fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = error.source();
    while let Some(it) = next {
        if let Some(found) = it.downcast_ref() {
            return Some(found);
        }
        next = it.source();
    }
    None
}

/// "Connection refused" rather than "error sending request".
fn innermost(error: &dyn StdError) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    cut(&last.to_string())
}

fn cut(text: &str) -> String {
    text.trim().chars().take(WORDS_MAX).collect()
}
