use std::net::{IpAddr, SocketAddr};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::Problem;
use crate::kernel::{Actor, UserActor};

/// The signed-in caller. `identity`'s middleware put it in the extensions.
pub struct Auth(pub Actor);

impl Auth {
    /// The person; an [`Auth`] always is one.
    pub fn user(&self) -> Result<&UserActor, Problem> {
        self.0.user().ok_or_else(Problem::unauthenticated)
    }
}

impl<S: Sync> FromRequestParts<S> for Auth {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Actor>() {
            Some(actor) => Ok(Self(actor.clone())),
            None => Err(Problem::unauthenticated()),
        }
    }
}

/// Who is at the other end: behind our proxy the client that it names, else
/// the TCP peer. `None` only where a test calls the router directly.
pub struct PeerAddr(pub Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for PeerAddr {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(peer_of(parts)))
    }
}

fn peer_of(parts: &Parts) -> Option<IpAddr> {
    let peer = parts
        .extensions
        .get::<axum::extract::ConnectInfo<SocketAddr>>()?
        .0
        .ip();
    // Only a process on this host can be our proxy; anybody else could write
    // what they like into the header.
    if !peer.is_loopback() {
        return Some(peer);
    }
    let forwarded = parts
        .headers
        .get("x-forwarded-for")
        .and_then(|it| it.to_str().ok());
    let last = forwarded.and_then(|it| it.rsplit(',').next()?.trim().parse().ok());
    Some(last.unwrap_or(peer))
}
