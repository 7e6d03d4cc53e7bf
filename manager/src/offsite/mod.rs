//! Copies in a bucket of an S3-compatible store: put with resumption, got back,
//! listed, deleted. Encrypted to a public key before they leave, if wanted.
//!
//! Where they go is the operator's setting alone; nothing of a tenant steers it.
//! No call needs more memory for a larger file.
mod bucket;
mod connect;
mod download;
mod error;
mod model;
mod seal;
mod upload;

pub use bucket::{Listed, Offsite};
pub use error::Error;
pub use model::{Source, UploadState};
pub use upload::{Upload, Watch};
