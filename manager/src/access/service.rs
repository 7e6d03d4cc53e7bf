use std::sync::Arc;

use chrono::TimeDelta;
use openflow_route_api::Role;
use sqlx::PgConnection;

use super::{
    AccessToken, EditorSession, Error,
    store::{self, NewAccessToken},
};
use crate::{
    audit::{self, Event},
    crypto::{random_token, sha256},
    db::Db,
    kernel::{Actor, Clock, EditorSessionId, InstanceId, ProjectId, Secret, UserActor},
};

const ACCESS_TOKEN_LIFE: TimeDelta = TimeDelta::seconds(60);
/// Also the cookie's `Max-Age`.
const EDITOR_SESSION_LIFE: TimeDelta = TimeDelta::days(30);
/// No token of ours is longer; more is not even hashed.
const TOKEN_BYTES_MAX: usize = 128;

#[derive(Clone)]
pub struct Access {
    pub(super) db: Db,
    pub(super) clock: Arc<dyn Clock>,
}

impl Access {
    pub fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self { db, clock }
    }

    /// A token for `user` at `instance`, in the caller's transaction, which has
    /// checked that they may.
    pub async fn mint(
        &self,
        tx: &mut PgConnection,
        user: &UserActor,
        instance: InstanceId,
    ) -> Result<AccessToken, Error> {
        let text = random_token();
        let now = self.clock.now();
        let expires_at = now + ACCESS_TOKEN_LIFE;
        let token = NewAccessToken {
            hash: sha256(&text),
            instance,
            user: user.id,
            session: user.session,
            created_at: now,
            expires_at,
        };
        store::insert_access_token(tx, &token).await?;
        Ok(AccessToken {
            text: Secret::new(text),
            expires_at,
        })
    }

    /// Turns a token into an editor session. Fails with
    /// [`Error::NotRedeemable`] for a used, expired or foreign one, and when
    /// its person may no longer; the token is gone in each case.
    pub async fn redeem(&self, token: &str, instance: InstanceId) -> Result<EditorSession, Error> {
        if TOKEN_BYTES_MAX < token.len() {
            return Err(Error::NotRedeemable);
        }
        let now = self.clock.now();
        let mut tx = self.db.begin_system().await?;
        let redeemed = store::redeem(&mut tx, &sha256(token), instance, now).await?;
        let Some(redeemed) = redeemed else {
            tx.commit().await?;
            return Err(Error::NotRedeemable);
        };
        let role = match (redeemed.is_admin, redeemed.role.as_deref()) {
            (true, _) | (_, Some("owner")) => Role::Owner,
            (_, Some("member")) => Role::Member,
            (_, Some("viewer")) => Role::Viewer,
            _ => {
                tx.commit().await?;
                return Err(Error::NotRedeemable);
            }
        };
        let session = EditorSession {
            id: EditorSessionId::new(),
            user: redeemed.user,
            name: redeemed.name.clone(),
            role,
            expires_at: now + EDITOR_SESSION_LIFE,
        };
        store::insert_editor_session(
            &mut tx,
            session.id,
            instance,
            &redeemed,
            (now, session.expires_at),
        )
        .await?;
        let actor = Actor::User(UserActor {
            id: redeemed.user,
            name: redeemed.name,
            is_admin: redeemed.is_admin,
            session: redeemed.session,
            address: None,
        });
        let project = Some(ProjectId(redeemed.project));
        let event = Event::new(
            "editor.open",
            project,
            "instance",
            instance,
            redeemed.instance_name,
        );
        audit::record(&mut tx, &actor, now, event).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// [`Access::redeem`] for a shim, which shows its magic token.
    pub async fn redeem_with_magic(
        &self,
        magic: &str,
        token: &str,
    ) -> Result<EditorSession, Error> {
        let instance = self.instance_of(magic).await?;
        self.redeem(token, instance).await
    }

    /// Whose magic token it is. Fails with [`Error::WrongSecret`] when it is
    /// nobody's.
    pub async fn instance_of(&self, magic: &str) -> Result<InstanceId, Error> {
        if TOKEN_BYTES_MAX < magic.len() {
            return Err(Error::WrongSecret);
        }
        let mut tx = self.db.begin_system().await?;
        let instance = store::instance_of_magic(&mut tx, &sha256(magic)).await?;
        instance.ok_or(Error::WrongSecret)
    }
}
