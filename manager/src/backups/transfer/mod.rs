//! Archives out of the installation and into it.
pub(super) mod http;
mod upload;
