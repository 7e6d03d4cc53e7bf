use std::net::IpAddr;

use super::{
    ApiToken, Grant, InUse, NewToken, Scope,
    model::{PREFIX, RANDOM_BYTES},
    store,
};
use crate::{
    audit::{self, Event},
    crypto::{random_token, sha256},
    identity::{
        Error, Identity,
        model::TOKENS_PER_USER_MAX,
        service::{Seen, person},
        users,
    },
    kernel::{Actor, ApiTokenId, Secret, UserActor},
};

impl Identity {
    /// What the token of a request stands for; [`Error::BadToken`] when it
    /// is none of ours, expired, or its user disabled.
    pub(in crate::identity) async fn token_grant(
        &self,
        token: &str,
        address: Option<IpAddr>,
    ) -> Result<Grant, Error> {
        let random = token.strip_prefix(PREFIX).ok_or(Error::BadToken)?;
        if random.len() != RANDOM_BYTES {
            return Err(Error::BadToken);
        }
        let now = self.clock.now();
        let mut tx = self.db.begin_system().await?;
        let live = store::live(&mut tx, &sha256(token), now).await?;
        drop(tx);
        let live = live.ok_or(Error::BadToken)?;
        self.saw(Seen::Token(live.id), live.last_used_at, now);
        Ok(Grant {
            user: UserActor {
                id: live.user_id,
                name: live.user_name,
                is_admin: live.is_admin,
                session: None,
                address,
            },
            may_write: live.scopes.contains(&Scope::Write),
            token: InUse {
                expires_at: live.expires_at,
            },
        })
    }

    pub(super) async fn list_tokens(&self, actor: &Actor) -> Result<Vec<ApiToken>, Error> {
        let user = person(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        Ok(store::list(&mut tx, user.id).await?)
    }

    /// Mints a token of the actor's own; it is shown this once.
    pub(super) async fn create_token(
        &self,
        actor: &Actor,
        new: &NewToken,
    ) -> Result<(ApiTokenId, Secret), Error> {
        let user = person(actor)?;
        let token = Secret::new(format!("{PREFIX}{}", random_token()));
        let now = self.clock.now();
        let mut tx = self.db.begin_as(actor).await?;
        // Locked, so that two at once cannot both pass the limit.
        if !users::store::lock_active(&mut tx, user.id).await? {
            return Err(Error::UserNotFound);
        }
        if TOKENS_PER_USER_MAX <= store::count(&mut tx, user.id).await? {
            return Err(Error::TooManyTokens);
        }
        let id = store::insert(&mut tx, user.id, new, &sha256(token.expose()), now).await?;
        let event = Event::new("token.create", None, "token", id, new.name.as_str())
            .with(serde_json::json!({"scopes": new.scopes, "expiresAt": new.expires_at}));
        audit::record(&mut tx, actor, now, event).await?;
        tx.commit().await?;
        Ok((id, token))
    }

    pub(super) async fn delete_token(&self, actor: &Actor, id: ApiTokenId) -> Result<(), Error> {
        let user = person(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        let name = store::delete(&mut tx, user.id, id).await?;
        let name = name.ok_or(Error::TokenNotFound)?;
        let event = Event::new("token.delete", None, "token", id, name);
        audit::record(&mut tx, actor, self.clock.now(), event).await?;
        tx.commit().await?;
        Ok(())
    }
}
