//! How webhook paths are guarded.
use std::ops::RangeInclusive;

use super::{Error, WebhookAccess, model::WebhookMode};
use crate::{crypto::sha256_hex, kernel::Secret};

const SECRET_BYTES: RangeInclusive<usize> = 8..=256;

/// What a request asks for, checked. Without a secret the stored one stays,
/// as long as the mode does.
pub(super) fn webhook_access(
    mode: WebhookMode,
    username: Option<String>,
    secret: Option<Secret>,
    stored: &WebhookAccess,
) -> Result<WebhookAccess, Error> {
    let bad = |detail| Err(Error::BadWebhookAccess { detail });
    let secret_hash = match secret {
        Some(it) if !SECRET_BYTES.contains(&it.expose().len()) => {
            return bad("A webhook secret is 8 to 256 bytes.");
        }
        Some(it) => Some(sha256_hex(it.expose())),
        None => stored.secret_hash.clone().filter(|_| mode == stored.mode),
    };
    let username = username.or_else(|| stored.username.clone().filter(|_| mode == stored.mode));
    match mode {
        WebhookMode::Open => Ok(WebhookAccess {
            mode,
            username: None,
            secret_hash: None,
        }),
        _ if secret_hash.is_none() => bad("Give the secret that callers have to show."),
        WebhookMode::Bearer => Ok(WebhookAccess {
            mode,
            username: None,
            secret_hash,
        }),
        WebhookMode::Basic => match &username {
            Some(name) if (1..=100).contains(&name.len()) && !name.contains(':') => {
                Ok(WebhookAccess {
                    mode,
                    username,
                    secret_hash,
                })
            }
            _ => bad("Give a username of 1 to 100 bytes without a colon."),
        },
    }
}
