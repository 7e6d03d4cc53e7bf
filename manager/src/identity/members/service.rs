use serde_json::json;
use sqlx::PgConnection;

use super::{Member, NewMember, store};
use crate::{
    audit::{self, Event},
    db::Tx,
    identity::{
        Error, Identity, Invalid, Role,
        model::{self, Email},
        users,
    },
    kernel::{Actor, Page, PageRequest, ProjectId, UserId},
};

impl Identity {
    pub(super) async fn list_members(
        &self,
        actor: &Actor,
        project: ProjectId,
        page: PageRequest,
    ) -> Result<Page<Member>, Error> {
        let mut tx = self.db.begin_as(actor).await?;
        self.require(&mut tx, actor, project, Role::Viewer).await?;
        let members = store::list(&mut tx, project, page).await?;
        Ok(Page::cut(members, page, |it| it.user.0))
    }

    /// Adds the user with that email, who must exist.
    pub(super) async fn add_member(
        &self,
        actor: &Actor,
        project: ProjectId,
        email: &str,
        role: Role,
    ) -> Result<Member, Error> {
        // Before looking: only an owner learns whether an address is a user's.
        drop(self.begin_change(actor, project).await?);
        let email = Email::parse(email)?;
        // Who shares no project with the actor is hidden from their transaction.
        let mut system = self.db.begin_system().await?;
        let found = users::store::id_by_email(&mut system, email.as_str()).await?;
        drop(system);
        let user = found.ok_or(Invalid {
            code: "member.unknown_email",
            field: "email",
            message: "No user has this email address. Ask an administrator to create the user.",
        })?;

        let mut tx = self.begin_change(actor, project).await?;
        if store::get(&mut tx, project, user).await?.is_some() {
            return Err(Error::AlreadyMember);
        }
        let new = NewMember {
            project,
            user,
            role,
        };
        let member = self.insert(&mut tx, actor, &new).await?;
        tx.commit().await?;
        Ok(member)
    }

    /// Makes the user a member of that role, or changes the role.
    pub(super) async fn set_member(
        &self,
        actor: &Actor,
        project: ProjectId,
        user: UserId,
        role: Role,
    ) -> Result<Member, Error> {
        let mut tx = self.begin_change(actor, project).await?;
        let Some(before) = store::get(&mut tx, project, user).await? else {
            let new = NewMember {
                project,
                user,
                role,
            };
            let member = self.insert(&mut tx, actor, &new).await?;
            tx.commit().await?;
            return Ok(member);
        };
        if before.role != role {
            if before.role == Role::Owner {
                keep_an_owner(&mut tx, project).await?;
            }
            let event = Event::new("member.update", Some(project), "user", user, &before.name)
                .with(json!({"role": role, "before": before.role}));
            audit::record(&mut tx, actor, self.clock.now(), event).await?;
            store::set_role(&mut tx, project, user, role).await?;
            tx.commit().await?;
        }
        Ok(Member { role, ..before })
    }

    /// Owners remove anybody, the others themselves.
    pub(super) async fn remove_member(
        &self,
        actor: &Actor,
        project: ProjectId,
        user: UserId,
    ) -> Result<(), Error> {
        let is_self = actor.user().is_some_and(|it| it.id == user);
        let needed = if is_self { Role::Viewer } else { Role::Owner };
        let mut tx = self.db.begin_as(actor).await?;
        store::lock_project(&mut tx, project).await?;
        self.require(&mut tx, actor, project, needed).await?;
        let before = store::get(&mut tx, project, user).await?;
        let before = before.ok_or(Error::MemberNotFound)?;
        if before.role == Role::Owner {
            keep_an_owner(&mut tx, project).await?;
        }
        // First the line in the log: who left may not write into it.
        let event = Event::new("member.delete", Some(project), "user", user, before.name);
        audit::record(&mut tx, actor, self.clock.now(), event).await?;
        store::delete(&mut tx, project, user).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A transaction of an owner, with the project locked.
    async fn begin_change(&self, actor: &Actor, project: ProjectId) -> Result<Tx, Error> {
        let mut tx = self.db.begin_as(actor).await?;
        store::lock_project(&mut tx, project).await?;
        self.require(&mut tx, actor, project, Role::Owner).await?;
        Ok(tx)
    }

    async fn insert(
        &self,
        tx: &mut PgConnection,
        actor: &Actor,
        new: &NewMember,
    ) -> Result<Member, Error> {
        let (now, project, user) = (self.clock.now(), new.project, new.user);
        let (members, _) = store::count(tx, project).await?;
        if model::MEMBERS_PER_PROJECT_MAX <= members {
            return Err(Error::TooManyMembers);
        }
        store::insert(tx, new, now).await?;
        let member = store::get(tx, project, user).await?;
        let member = member.ok_or(Error::MemberNotFound)?;
        let event = Event::new("member.create", Some(project), "user", user, &member.name)
            .with(json!({"role": new.role}));
        audit::record(tx, actor, now, event).await?;
        Ok(member)
    }
}

/// Fails when one owner is all that the project has.
async fn keep_an_owner(tx: &mut PgConnection, project: ProjectId) -> Result<(), Error> {
    let (_, owners) = store::count(tx, project).await?;
    if owners <= 1 {
        return Err(Error::LastOwner);
    }
    Ok(())
}
