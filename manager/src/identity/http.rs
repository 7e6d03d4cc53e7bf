//! All routes of this slice.
use utoipa_axum::router::OpenApiRouter;

use super::{Identity, api_tokens, members, projects, sessions, setup, users};

pub fn router(identity: Identity) -> OpenApiRouter {
    OpenApiRouter::new()
        .merge(setup::http::router())
        .merge(sessions::http::router())
        .merge(api_tokens::http::router())
        .merge(users::http::router())
        .merge(projects::http::router())
        .merge(members::http::router())
        .with_state(identity)
}
