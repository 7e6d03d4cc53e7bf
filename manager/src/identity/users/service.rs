use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Draft, NewUser, User, UserChange, store};
use crate::{
    audit::{self, Event},
    identity::{
        Error, Identity, Invalid, api_tokens,
        model::{self, Email, Name},
        projects, require_admin,
        service::person,
        sessions,
    },
    kernel::{Actor, Page, PageRequest, Secret, SessionId, UserActor, UserId},
};

/// How many projects a refusal names.
const NAMED_MAX: usize = 10;

impl Identity {
    /// The person, for whom somebody trusted speaks. Fails with
    /// [`Error::UserNotFound`] when they are disabled.
    pub async fn actor_of(&self, id: UserId) -> Result<Actor, Error> {
        let mut tx = self.db.begin_system().await?;
        let found = store::get(&mut tx, id).await?;
        let user = found
            .filter(|it| !it.is_disabled)
            .ok_or(Error::UserNotFound)?;
        Ok(Actor::User(UserActor {
            id: user.id,
            name: user.name,
            is_admin: user.is_admin,
            session: None,
            address: None,
        }))
    }

    pub(super) async fn me(&self, actor: &Actor) -> Result<User, Error> {
        let user = person(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        let found = store::get(&mut tx, user.id).await?;
        found.ok_or(Error::UserNotFound)
    }

    /// Sets the actor's own password. Everything that the old one opened ends:
    /// sessions (but the one that asks), API tokens, editor sessions.
    pub(super) async fn change_password(
        &self,
        actor: &Actor,
        current: &Secret,
        new: &Secret,
    ) -> Result<(), Error> {
        const WRONG: Invalid = Invalid {
            code: "password.wrong",
            field: "currentPassword",
            message: "This is not your current password.",
        };
        let user = person(actor)?;
        let me = self.me(actor).await?;
        model::check_password_size("currentPassword", current)?;
        model::check_password("newPassword", new, &me.email)?;
        self.sign_ins.check(&me.email, user.address)?;

        let mut tx = self.db.begin_as(actor).await?;
        let before = store::password_hash(&mut tx, user.id).await?;
        drop(tx);
        if !self.passwords.verify(current, Some(before.clone())).await {
            return Err(WRONG.into());
        }
        let hash = self.passwords.hash(new).await;

        let now = self.clock.now();
        let mut tx = self.db.begin_as(actor).await?;
        if !store::set_password(&mut tx, user.id, Some(&before), &hash, now).await? {
            return Err(WRONG.into()); // another change was faster
        }
        end_access(&mut tx, user.id, user.session, now).await?;
        let event = Event::new("user.password", None, "user", user.id, &me.name);
        audit::record(&mut tx, actor, now, event).await?;
        tx.commit().await?;
        Ok(())
    }

    /// All users, or the one with that email. For administrators.
    pub(super) async fn list_users(
        &self,
        actor: &Actor,
        email: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<User>, Error> {
        require_admin(actor)?;
        let email = email.map(Email::parse).transpose()?;
        let mut tx = self.db.begin_as(actor).await?;
        let users = store::list(&mut tx, email.as_ref().map(Email::as_str), page).await?;
        Ok(Page::cut(users, page, |it| it.id.0))
    }

    pub(super) async fn create_user(&self, actor: &Actor, draft: Draft) -> Result<User, Error> {
        require_admin(actor)?;
        let new = self.hashed(draft).await;
        let mut tx = self.db.begin_as(actor).await?;
        let user = insert(&mut tx, actor, &new, self.clock.now()).await?;
        tx.commit().await?;
        Ok(user)
    }

    pub(in crate::identity) async fn hashed(&self, draft: Draft) -> NewUser {
        NewUser {
            email: draft.email,
            name: draft.name,
            password_hash: self.passwords.hash(&draft.password).await,
            is_admin: draft.is_admin,
        }
    }

    /// A new password, or being disabled, ends all that the user had open, API
    /// tokens included.
    pub(super) async fn update_user(
        &self,
        actor: &Actor,
        id: UserId,
        change: &UserChange,
    ) -> Result<User, Error> {
        require_admin(actor)?;
        let hash = self.hash_of_change(actor, id, change).await?;

        let now = self.clock.now();
        let mut tx = self.db.begin_as(actor).await?;
        let admins = store::lock_active_admins(&mut tx).await?;
        store::lock(&mut tx, id).await?;
        let before = store::get(&mut tx, id).await?.ok_or(Error::UserNotFound)?;
        let after = change.apply(&before);
        if !after.is_active_admin() && admins == [id] {
            return Err(Error::LastAdmin);
        }
        store::update(&mut tx, &after, now).await?;
        if let Some(hash) = &hash {
            store::set_password(&mut tx, id, None, hash, now).await?;
        }
        if hash.is_some() || after.is_disabled {
            let own = actor.user().filter(|it| it.id == id && !after.is_disabled);
            end_access(&mut tx, id, own.and_then(|it| it.session), now).await?;
        }
        let event = Event::new("user.update", None, "user", id, &after.name)
            .with(change.detail(&before, &after));
        audit::record(&mut tx, actor, now, event).await?;
        tx.commit().await?;
        Ok(after)
    }

    async fn hash_of_change(
        &self,
        actor: &Actor,
        id: UserId,
        change: &UserChange,
    ) -> Result<Option<String>, Error> {
        let Some(password) = &change.password else {
            return Ok(None);
        };
        let mut tx = self.db.begin_as(actor).await?;
        let user = store::get(&mut tx, id).await?.ok_or(Error::UserNotFound)?;
        drop(tx);
        model::check_password("password", password, &user.email)?;
        Ok(Some(self.passwords.hash(password).await))
    }

    /// Removes the user and what hangs on them: sessions, tokens, memberships,
    /// and the projects in which they are alone and have no instance. Refused
    /// with [`Error::OnlyOwner`] while other projects would lose their owner.
    pub(super) async fn delete_user(&self, actor: &Actor, id: UserId) -> Result<(), Error> {
        require_admin(actor)?;
        let now = self.clock.now();
        let mut tx = self.db.begin_as(actor).await?;
        let admins = store::lock_active_admins(&mut tx).await?;
        store::lock(&mut tx, id).await?;
        let user = store::get(&mut tx, id).await?.ok_or(Error::UserNotFound)?;
        if admins == [id] {
            return Err(Error::LastAdmin);
        }
        let (used, unused): (Vec<_>, Vec<_>) = store::only_owned(&mut tx, id)
            .await?
            .into_iter()
            .partition(|it| it.is_used);
        if !used.is_empty() {
            let names: Vec<_> = used.iter().take(NAMED_MAX).map(|it| &*it.name).collect();
            return Err(Error::OnlyOwner(names.join(", ")));
        }
        for project in unused {
            projects::store::mark_deleting(&mut tx, project.id, now).await?;
            let event = Event::new(
                "project.delete",
                Some(project.id),
                "project",
                project.id,
                project.name,
            );
            audit::record(&mut tx, actor, now, event).await?;
        }
        end_access(&mut tx, id, None, now).await?;
        store::delete(&mut tx, id).await?;
        let event = Event::new("user.delete", None, "user", id, user.name);
        audit::record(&mut tx, actor, now, event).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Ends all that lets the user in: sessions but `keep`, API tokens, launches,
/// editor sessions.
async fn end_access(
    tx: &mut PgConnection,
    user: UserId,
    keep: Option<SessionId>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sessions::store::delete_others(tx, user, keep).await?;
    api_tokens::store::delete_all(tx, user).await?;
    sessions::store::delete_launches(tx, user).await?;
    sessions::store::revoke_editors(tx, user, keep, now).await
}

/// Writes a new user and their first project, which they own.
pub(in crate::identity) async fn insert(
    tx: &mut PgConnection,
    actor: &Actor,
    new: &NewUser,
    now: DateTime<Utc>,
) -> Result<User, Error> {
    if model::USERS_MAX <= store::count(tx).await? {
        return Err(Error::TooManyUsers);
    }
    let id = UserId::new();
    store::insert(tx, id, new, now).await?;
    let event = Event::new("user.create", None, "user", id, new.name.as_str())
        .with(serde_json::json!({"isAdmin": new.is_admin}));
    audit::record(tx, actor, now, event).await?;
    let project = Name::of_first_project(&new.name);
    projects::insert(tx, actor, id, &project, now).await?;
    Ok(User {
        id,
        email: new.email.as_str().to_owned(),
        name: new.name.as_str().to_owned(),
        is_admin: new.is_admin,
        is_disabled: false,
        created_at: now,
    })
}
