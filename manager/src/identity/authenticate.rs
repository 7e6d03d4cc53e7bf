use axum::{
    RequestExt as _,
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::Response,
};

use super::{Error, Identity, cookie};
use crate::{
    kernel::Actor,
    web::{PeerAddr, Problem},
};

/// The middleware that finds out who asks and puts their [`Actor`] into the
/// request's extensions, from a personal access token or else the session
/// cookie. It is for the public API alone: the proxy's and the shim's routes
/// bring credentials of their own.
///
/// A bad token is refused; a bad cookie is cleared, and the request goes on as
/// nobody's. Without the database nobody is let in: 503.
pub async fn authenticate(
    State(identity): State<Identity>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Ok(PeerAddr(address)) = request.extract_parts::<PeerAddr>().await;
    if let Some(token) = bearer(request.headers())? {
        let grant = identity.token_grant(token, address).await?;
        if !grant.may_write && !is_read(request.method()) {
            return Err(Error::ReadOnlyToken.into());
        }
        request.extensions_mut().insert(Actor::User(grant.user));
        request.extensions_mut().insert(grant.token);
        return Ok(next.run(request).await);
    }

    let Some(cookie::Presented(token)) = cookie::read(request.headers()) else {
        return Ok(next.run(request).await);
    };
    let user = match token {
        Some(token) => identity.session_user(&token, address).await?,
        None => None,
    };
    if let Some(user) = user {
        request.extensions_mut().insert(Actor::User(user));
        return Ok(next.run(request).await);
    }
    let mut response = next.run(request).await;
    if !cookie::is_set_by(response.headers()) {
        response.headers_mut().extend(cookie::cleared());
    }
    Ok(response)
}

/// The token of the `Authorization` header, if there is one; any other scheme
/// is refused rather than taken for a stranger.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| Error::BadToken)?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Error::BadToken),
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
