use std::net::IpAddr;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Origin, Session, store};
use crate::{
    audit,
    crypto::{random_token, sha256},
    identity::{
        Error, Identity,
        model::{self, Email},
        service::{Seen, person},
        users,
    },
    kernel::{Actor, Secret, SessionId, UserActor, UserId},
};

impl Identity {
    /// Signs in and returns the cookie's token. `replaced` is the token that
    /// the browser had until now; its session ends.
    ///
    /// An unknown, disabled or wrongly named user is refused in the same words
    /// and after the same work.
    pub(super) async fn sign_in(
        &self,
        email: &str,
        password: &Secret,
        origin: &Origin,
        replaced: Option<Secret>,
    ) -> Result<Secret, Error> {
        let email = Email::parse(email)?;
        model::check_password_size("password", password)?;
        let result = self.try_sign_in(&email, password, origin, replaced).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(Error::BadCredentials) => "refused",
            Err(Error::TooManyTries(_)) => "limited",
            Err(_) => "failed",
        };
        metrics::counter!("openflow_sign_ins_total", "result" => outcome).increment(1);
        if let Err(error @ (Error::BadCredentials | Error::TooManyTries(_))) = &result {
            tracing::warn!(
                user.email = email.as_str(),
                client.address = origin.address_text(),
                "sign-in refused: {error}"
            );
        }
        result
    }

    async fn try_sign_in(
        &self,
        email: &Email,
        password: &Secret,
        origin: &Origin,
        replaced: Option<Secret>,
    ) -> Result<Secret, Error> {
        self.sign_ins.check(email.as_str(), origin.address)?;
        let mut tx = self.db.begin_system().await?;
        let found = users::store::credentials(&mut tx, email.as_str()).await?;
        drop(tx); // hashing takes its time, and needs no connection
        let hash = found.as_ref().map(|it| it.password_hash.clone());
        let is_right = self.passwords.verify(password, hash).await;
        let Some(found) = found.filter(|_| is_right) else {
            return Err(Error::BadCredentials);
        };

        let now = self.clock.now();
        let mut tx = self.db.begin_system().await?;
        // Disabled, or a new password, since we looked?
        if !users::store::lock_credentials(&mut tx, &found).await? {
            return Err(Error::BadCredentials);
        }
        if let Some(token) = replaced {
            store::delete_by_token(&mut tx, &sha256(token.expose())).await?;
        }
        let (session, token) = open(&mut tx, found.id, origin, now).await?;
        let actor = Actor::User(UserActor {
            id: found.id,
            name: found.name.clone(),
            is_admin: found.is_admin,
            session: Some(session),
            address: origin.address,
        });
        let event = audit::Event::new("session.create", None, "user", found.id, found.name);
        audit::record(&mut tx, &actor, now, event).await?;
        tx.commit().await?;
        Ok(token)
    }

    /// Whose session the cookie's token names, if it is alive.
    pub(in crate::identity) async fn session_user(
        &self,
        token: &Secret,
        address: Option<IpAddr>,
    ) -> Result<Option<UserActor>, Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin_system().await?;
        let found = store::live(&mut tx, &sha256(token.expose()), now).await?;
        drop(tx);
        let Some(live) = found else { return Ok(None) };
        self.saw(Seen::Session(live.id), Some(live.last_seen_at), now);
        Ok(Some(UserActor {
            id: live.user_id,
            name: live.user_name,
            is_admin: live.is_admin,
            session: Some(live.id),
            address,
        }))
    }

    /// For what outlives a request: fails when its actor's session has ended,
    /// or they were disabled, or are no longer the administrator they were.
    pub async fn still_signed_in(&self, actor: &Actor) -> Result<(), Error> {
        let Some(user) = actor.user() else {
            return Ok(());
        };
        let mut tx = self.db.begin_system().await?;
        if store::still(&mut tx, user, self.clock.now()).await? {
            return Ok(());
        }
        Err(Error::BadToken)
    }

    pub(super) async fn list_sessions(&self, actor: &Actor) -> Result<Vec<Session>, Error> {
        let user = person(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        Ok(store::list(&mut tx, user.id, self.clock.now()).await?)
    }

    /// Ends one of the actor's own sessions, and the editor sessions that were
    /// launched from it.
    pub(super) async fn end_session(&self, actor: &Actor, id: SessionId) -> Result<(), Error> {
        let user = person(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        if !store::delete(&mut tx, user.id, id).await? {
            return Err(Error::SessionNotFound);
        }
        let event = audit::Event::new("session.delete", None, "user", user.id, &user.name);
        audit::record(&mut tx, actor, self.clock.now(), event).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// A new session of the user and its token; the oldest make room for it.
pub(in crate::identity) async fn open(
    tx: &mut PgConnection,
    user: UserId,
    origin: &Origin,
    now: DateTime<Utc>,
) -> sqlx::Result<(SessionId, Secret)> {
    let token = Secret::new(random_token());
    store::trim(tx, user, model::SESSIONS_PER_USER_MAX - 1).await?;
    let id = store::insert(tx, user, &sha256(token.expose()), origin, now).await?;
    Ok((id, token))
}
