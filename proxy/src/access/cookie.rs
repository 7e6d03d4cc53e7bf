//! The editor cookie. It says who; the table says what they may now.
use http::{HeaderMap, header};
use openflow_route_api::{CookieClaims, IdentityClaims, Key};

use crate::routes::{CompiledRoute, Session, Table};

const NAME: &[u8] = b"openflow_token";
/// A sibling instance can plant cookies of our name; more than this many before
/// the real one, and the person signs in again.
const TRIES_MAX: usize = 32;
/// 30 days.
const MAX_AGE_SECONDS: i64 = 2_592_000;
const IDENTITY_SECONDS: i64 = 60;

/// A person with the right to this instance's editor.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) session: Session,
    pub(crate) name: String,
}

impl SignedIn {
    /// The value of `X-Openflow-Identity` for the instance behind `route`.
    pub(crate) fn identity(&self, route: &CompiledRoute, key: &Key, now: i64) -> String {
        let claims = IdentityClaims {
            user_id: self.session.user_id,
            name: self.name.clone(),
            role: self.session.role,
            instance_id: route.instance_id,
            expires_at: now + IDENTITY_SECONDS,
        };
        claims.sign(key)
    }
}

/// The person whose valid cookie for this instance is among `headers`.
pub(crate) fn signed_in(
    table: &Table,
    route: &CompiledRoute,
    headers: &HeaderMap,
    now: i64,
) -> Option<SignedIn> {
    values(headers).take(TRIES_MAX).find_map(|value| {
        let value = std::str::from_utf8(value).ok()?;
        let claims = CookieClaims::verify(value, &table.access.cookie_keys, now).ok()?;
        if claims.instance_id != route.instance_id {
            return None;
        }
        let role = table.role(route.project_id, claims.session_id, claims.user_id)?;
        Some(SignedIn {
            session: Session {
                session_id: claims.session_id,
                user_id: claims.user_id,
                role,
                expires_at: claims.expires_at,
            },
            name: claims.name,
        })
    })
}

fn values(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let headers = headers.get_all(header::COOKIE).into_iter();
    let cookies = headers.flat_map(|value| value.as_bytes().split(|&byte| byte == b';'));
    cookies.filter_map(|cookie| cookie.trim_ascii().strip_prefix(NAME)?.strip_prefix(b"="))
}

/// `Set-Cookie` for a session that begins `now`.
pub(crate) fn session_cookie(
    signed_in: &SignedIn,
    route: &CompiledRoute,
    key: &Key,
    now: i64,
    is_https: bool,
) -> String {
    let claims = CookieClaims {
        session_id: signed_in.session.session_id,
        user_id: signed_in.session.user_id,
        name: signed_in.name.clone(),
        instance_id: route.instance_id,
        role: signed_in.session.role,
        issued_at: now,
        expires_at: signed_in.session.expires_at.min(now + MAX_AGE_SECONDS),
    };
    let secure = if is_https { "; Secure" } else { "" };
    let value = claims.sign(key);
    format!(
        "openflow_token={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={MAX_AGE_SECONDS}{secure}"
    )
}

/// `Set-Cookie` that ends the session in this browser.
pub(crate) fn clearing_cookie(is_https: bool) -> String {
    let secure = if is_https { "; Secure" } else { "" };
    format!("openflow_token=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0{secure}")
}
