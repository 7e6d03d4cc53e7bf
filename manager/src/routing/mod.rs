//! The route feed: all that the proxy needs to answer every request without
//! asking. See `docs/wire.md`.
mod feed;
pub mod http;
mod store;

pub use feed::{Feed, FeedSettings};
