//! Reads HTTP/1.1 answers from bytes. Instances are not trusted: whatever is
//! ambiguous or too large is an error, never a guess. Pure.
mod body;
mod head;

pub(crate) use body::{BodyDecoder, Piece};
pub(crate) use head::{Head, take_head};

const HEADERS_MAX: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("the instance's answer is not HTTP/1.1")]
    Syntax,
    #[error("the head of the instance's answer is larger than 64 KiB")]
    TooLarge,
    #[error("the framing of the instance's answer is ambiguous")]
    Framing,
}
