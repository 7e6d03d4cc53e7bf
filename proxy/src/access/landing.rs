//! Landing with `?access_token=`: the token is redeemed once at the manager and
//! replaced by the editor cookie. It reaches no log, instance or `Referer`.
use crate::{
    forward::percent_decode,
    routes::{CompiledRoute, Manager, RedeemError, Session, Table},
};

use super::SignedIn;

const NAME: &[u8] = b"access_token";
const TOKEN_BYTES_MAX: usize = 512;

/// A path and query without its access token, and the token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Landing {
    /// Begins with exactly one slash, so that it cannot name another host.
    pub(crate) target: String,
    pub(crate) token: String,
}

/// Finds `access_token` in the query of `target`; with several, none is right.
pub(crate) fn take_access_token(target: &str) -> Option<Landing> {
    let (path, query) = target.split_once('?')?;
    let is_token = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_decode(name.as_bytes()) == NAME
    };
    let mut tokens = query.split('&').filter(is_token);
    let token = tokens
        .next()?
        .split_once('=')
        .map_or("", |(_, token)| token);
    let token = match tokens.next() {
        None => String::from_utf8(percent_decode(token.as_bytes())).unwrap_or_default(),
        Some(_) => String::new(),
    };
    let rest: Vec<_> = query.split('&').filter(|pair| !is_token(pair)).collect();
    let mut target = format!("/{}", path.trim_start_matches('/'));
    if !rest.is_empty() {
        target.push('?');
        target.push_str(&rest.join("&"));
    }
    Some(Landing { target, token })
}

/// Why a landing does not sign in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LandingError {
    #[error("the access token is used up, expired or for another instance")]
    Gone,
    #[error("the browser is signed in as somebody else")]
    OtherPerson { signed_in: String, invited: String },
    #[error("the access token cannot be checked now")]
    CannotRedeem,
}

/// Redeems the token for this instance.
///
/// `present` is who the browser is signed in as already: another person's
/// session is never replaced silently.
pub(crate) async fn land(
    landing: &Landing,
    table: &Table,
    route: &CompiledRoute,
    manager: Option<&Manager>,
    present: Option<SignedIn>,
) -> Result<SignedIn, LandingError> {
    let manager = manager.ok_or(LandingError::CannotRedeem)?;
    if landing.token.is_empty() || TOKEN_BYTES_MAX < landing.token.len() {
        return Err(LandingError::Gone);
    }
    let redeemed = match manager.redeem(route.instance_id, &landing.token).await {
        Ok(redeemed) => redeemed,
        Err(RedeemError::Gone) => return Err(LandingError::Gone),
        Err(error) => {
            tracing::warn!(instance.id = %route.instance_id, %error, "an access token could not be checked");
            return Err(LandingError::CannotRedeem);
        }
    };
    if table.access.revoked_sessions.contains(&redeemed.session_id) {
        return Err(LandingError::Gone);
    }
    if let Some(present) = present.filter(|present| present.session.user_id != redeemed.user_id) {
        return Err(LandingError::OtherPerson {
            signed_in: present.name,
            invited: redeemed.name,
        });
    }
    Ok(SignedIn {
        session: Session {
            session_id: redeemed.session_id,
            user_id: redeemed.user_id,
            role: redeemed.role,
            expires_at: redeemed.expires_at.timestamp(),
        },
        name: redeemed.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_taken_out_of_the_query() {
        for (target, rest, token) in [
            ("/?access_token=T", "/", "T"),
            ("/?a=1&access_token=T%2B&b=2", "/?a=1&b=2", "T+"),
            ("/x?access%5Ftoken=T", "/x", "T"),
            ("//evil.com/?access_token=T", "/evil.com/", "T"),
            ("/?access_token", "/", ""),
            ("/?access_token=A&access_token=B", "/", ""),
            ("/?a=/?x&access_token=T", "/?a=/?x", "T"),
        ] {
            let landing = take_access_token(target).unwrap();
            assert_eq!(
                (landing.target.as_str(), landing.token.as_str()),
                (rest, token),
                "{target}"
            );
        }
        for target in [
            "/",
            "/?",
            "/?access_tokens=1",
            "/access_token=1",
            "/?a=access_token=1",
        ] {
            assert_eq!(take_access_token(target), None, "{target}");
        }
    }
}
