use bollard::errors::Error as EngineError;

use crate::runtime::Error;

const MESSAGE_CHARS_MAX: usize = 500;

/// The engine's HTTP status, when it answered at all.
pub(super) fn status(error: &EngineError) -> Option<u16> {
    match error {
        EngineError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Whether the engine answered with that status and words like these.
pub(super) fn says(error: &EngineError, code: u16, words: &str) -> bool {
    matches!(error, EngineError::DockerResponseServerError { status_code, message }
        if *status_code == code && message.to_lowercase().contains(words))
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::DockerResponseServerError { message, .. } => Self::Refused(cut(&message)),
            EngineError::DockerStreamError { error } => Self::Refused(cut(&error)),
            EngineError::RequestTimeoutError => Self::Unavailable("no answer in time".into()),
            EngineError::SocketNotFoundError(path) => {
                Self::Unavailable(format!("there is no socket {path}"))
            }
            EngineError::JsonDataError { .. }
            | EngineError::UnsupportedURISchemeError { .. }
            | EngineError::URLParseError { .. } => Self::Refused(cut(&error.to_string())),
            // Cut connections show as I/O, HTTP or end-of-JSON errors.
            error => Self::Unavailable(cut(&innermost(&error))),
        }
    }
}

/// The last error of the chain: "Connection refused" rather than "client
/// error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn cut(text: &str) -> String {
    text.trim().chars().take(MESSAGE_CHARS_MAX).collect()
}
