//! The way of a request through the proxy.
mod body;
mod headers;
mod instance;
mod normal;
mod request_id;
mod service;
mod upgrade;
mod upstream;

pub(crate) use body::AnswerBody;
pub(crate) use normal::{BadRequest, Host, percent_decode, percent_encode};
pub(crate) use service::handle;
pub(crate) use upgrade::keep_alive;
pub(crate) use upstream::{UpstreamError, clear_pool, sweep_pool};
