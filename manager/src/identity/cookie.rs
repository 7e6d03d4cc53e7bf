//! The dashboard's session cookie. The `__Host-` prefix keeps instances, which
//! live on sibling subdomains, from planting one.
use axum::http::{HeaderMap, HeaderValue, header};

use super::sessions::SESSION_LIFE;
use crate::kernel::Secret;

const NAME: &str = "__Host-openflow_session";
const TOKEN_BYTES: usize = 43;

/// The token that the browser presents, if it could be one of ours.
pub(super) fn read(headers: &HeaderMap) -> Option<Presented> {
    let mut values = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(';'))
        .filter_map(|it| it.trim().split_once('='));
    let (_, value) = values.find(|(name, _)| *name == NAME)?;
    Some(Presented(
        (value.len() == TOKEN_BYTES).then(|| Secret::new(value)),
    ))
}

/// A cookie of our name; `None` inside when it cannot be a session's.
pub(super) struct Presented(pub(super) Option<Secret>);

pub(super) fn set(token: &Secret) -> [(header::HeaderName, String); 1] {
    let seconds = SESSION_LIFE.num_seconds();
    let value = format!(
        "{NAME}={}; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age={seconds}",
        token.expose()
    );
    [(header::SET_COOKIE, value)]
}

pub(super) fn cleared() -> [(header::HeaderName, HeaderValue); 1] {
    const VALUE: &str =
        "__Host-openflow_session=; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age=0";
    [(header::SET_COOKIE, HeaderValue::from_static(VALUE))]
}

/// Whether an answer sets or clears the cookie.
pub(super) fn is_set_by(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::SET_COOKIE)
        .iter()
        .any(|it| it.as_bytes().starts_with(NAME.as_bytes()))
}
