use std::{num::NonZeroU32, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio::sync::Semaphore;

use super::{
    Error, Role, api_tokens, projects,
    sessions::{self, SignInLimiter},
};
use crate::{
    crypto::Passwords,
    db::Db,
    kernel::{Actor, ApiTokenId, Clock, ProjectId, SessionId, UserActor},
};

/// How many notes of "last seen" are written at once; more are left out, the
/// next request makes up for them.
const TOUCHES_AT_ONCE: usize = 4;
const SEEN_AFTER: TimeDelta = TimeDelta::minutes(1);

/// How often a sign-in may be tried, right or wrong: that many at once, and
/// that many in each minute.
#[derive(Clone, Copy, Debug)]
pub struct SignInRates {
    pub per_account: NonZeroU32,
    pub per_address: NonZeroU32,
}

impl SignInRates {
    pub const DEFAULT: Self = Self {
        per_account: NonZeroU32::new(10).unwrap(),
        per_address: NonZeroU32::new(60).unwrap(),
    };
}

/// The use cases of this slice. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    pub(super) db: Db,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) passwords: Passwords,
    pub(super) sign_ins: Arc<SignInLimiter>,
    pub(super) touches: Arc<Semaphore>,
}

impl Identity {
    pub fn new(db: Db, clock: Arc<dyn Clock>, passwords: Passwords, rates: SignInRates) -> Self {
        Self {
            db,
            clock,
            passwords,
            sign_ins: Arc::new(SignInLimiter::new(rates)),
            touches: Arc::new(Semaphore::new(TOUCHES_AT_ONCE)),
        }
    }

    /// The actor's role in the project, in the caller's transaction.
    ///
    /// Fails with [`Error::RoleRequired`] when it is below `role`, and with
    /// [`Error::ProjectNotFound`] for a stranger, to whom the project does not
    /// exist. A project that is being deleted may be read, and refuses the
    /// rest with [`Error::ProjectDeleting`]. Administrators are owners
    /// everywhere, the system itself passes.
    pub async fn require(
        &self,
        tx: &mut PgConnection,
        actor: &Actor,
        project: ProjectId,
        role: Role,
    ) -> Result<Role, Error> {
        if let Actor::System(_) = actor {
            return Ok(Role::Owner);
        }
        let access = self.access(tx, actor, project).await?;
        if access.role < role {
            return Err(Error::RoleRequired(role));
        }
        if access.is_deleting && Role::Viewer < role {
            return Err(Error::ProjectDeleting);
        }
        Ok(access.role)
    }

    /// Whether the project is in this installation and the actor has less than
    /// `role` in it. In a transaction of the system: to a stranger no project
    /// exists.
    pub async fn lacks(
        &self,
        tx: &mut PgConnection,
        actor: &Actor,
        project: ProjectId,
        role: Role,
    ) -> Result<bool, Error> {
        let Some(user) = actor.user() else {
            return Ok(!matches!(actor, Actor::System(_)));
        };
        let found = projects::store::access(tx, project, user.id).await?;
        Ok(!user.is_admin && found.is_some_and(|(held, _)| held < Some(role)))
    }

    pub(super) async fn access(
        &self,
        tx: &mut PgConnection,
        actor: &Actor,
        project: ProjectId,
    ) -> Result<Access, Error> {
        let user = actor.user().ok_or(Error::ProjectNotFound)?;
        let found = projects::store::access(tx, project, user.id).await?;
        let (held, is_deleting) = found.ok_or(Error::ProjectNotFound)?;
        let role = if user.is_admin {
            Role::Owner
        } else {
            held.ok_or(Error::ProjectNotFound)?
        };
        Ok(Access { role, is_deleting })
    }
}

/// Somebody was seen.
pub(super) enum Seen {
    Session(SessionId),
    Token(ApiTokenId),
}

impl Identity {
    /// Notes when a session or token was last used: to the minute, and not in
    /// the request's way.
    pub(super) fn saw(&self, seen: Seen, last: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        if last.is_some_and(|it| now - it < SEEN_AFTER) {
            return;
        }
        let Ok(permit) = self.touches.clone().try_acquire_owned() else {
            return;
        };
        let db = self.db.clone();
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = note(&db, seen, now).await {
                tracing::debug!(%error, "could not note the last use: {error}");
            }
        });
    }
}

async fn note(db: &Db, seen: Seen, now: DateTime<Utc>) -> sqlx::Result<()> {
    let mut tx = db.begin_system().await?;
    match seen {
        Seen::Session(id) => sessions::store::touch(&mut tx, id, now).await?,
        Seen::Token(id) => api_tokens::store::touch(&mut tx, id, now).await?,
    }
    tx.commit().await
}

/// What an actor has to do with a project.
pub(super) struct Access {
    pub(super) role: Role,
    pub(super) is_deleting: bool,
}

/// Fails unless the actor administers the installation, or is the system.
pub fn require_admin(actor: &Actor) -> Result<(), Error> {
    match actor {
        Actor::System(_) => Ok(()),
        Actor::User(user) if user.is_admin => Ok(()),
        Actor::User(_) | Actor::Setup { .. } => Err(Error::AdminRequired),
    }
}

/// The person; what is somebody's own is nobody else's business.
pub(super) fn person(actor: &Actor) -> Result<&UserActor, Error> {
    actor.user().ok_or(Error::UserNotFound)
}
