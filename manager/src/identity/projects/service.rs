use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Project, store};
use crate::{
    audit::{self, Event},
    identity::{
        Error, Identity, Role, members,
        model::{self, Name},
        service::person,
        users,
    },
    kernel::{Actor, Page, PageRequest, ProjectId, UserId},
};

impl Identity {
    pub(super) async fn list_projects(
        &self,
        actor: &Actor,
        page: PageRequest,
    ) -> Result<Page<Project>, Error> {
        let user = person(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        let projects = store::list(&mut tx, user, None, page).await?;
        Ok(Page::cut(projects, page, |it| it.id.0))
    }

    pub(super) async fn project(&self, actor: &Actor, id: ProjectId) -> Result<Project, Error> {
        let mut tx = self.db.begin_as(actor).await?;
        self.require(&mut tx, actor, id, Role::Viewer).await?;
        view(&mut tx, actor, id).await
    }

    /// The actor becomes its owner.
    pub(super) async fn create_project(
        &self,
        actor: &Actor,
        name: &Name,
    ) -> Result<Project, Error> {
        let user = person(actor)?;
        let mut tx = self.db.begin_as(actor).await?;
        // Locked, so that two creations at once cannot both pass the limit.
        if !users::store::lock_active(&mut tx, user.id).await? {
            return Err(Error::UserNotFound);
        }
        if model::PROJECTS_PER_OWNER_MAX <= store::count_owned(&mut tx, user.id).await? {
            return Err(Error::TooManyProjects);
        }
        let id = insert(&mut tx, actor, user.id, name, self.clock.now()).await?;
        let project = view(&mut tx, actor, id).await?;
        tx.commit().await?;
        Ok(project)
    }

    pub(super) async fn rename_project(
        &self,
        actor: &Actor,
        id: ProjectId,
        name: &Name,
    ) -> Result<Project, Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin_as(actor).await?;
        self.require(&mut tx, actor, id, Role::Owner).await?;
        store::rename(&mut tx, id, name.as_str(), now).await?;
        let event = Event::new("project.update", Some(id), "project", id, name.as_str());
        audit::record(&mut tx, actor, now, event).await?;
        let project = view(&mut tx, actor, id).await?;
        tx.commit().await?;
        Ok(project)
    }

    /// Begins the deletion: the reconciler removes the instances, the purge
    /// job then the project. Asked again, it changes nothing.
    pub(super) async fn delete_project(
        &self,
        actor: &Actor,
        id: ProjectId,
    ) -> Result<Project, Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin_as(actor).await?;
        members::store::lock_project(&mut tx, id).await?;
        let access = self.access(&mut tx, actor, id).await?;
        if access.role < Role::Owner {
            return Err(Error::RoleRequired(Role::Owner));
        }
        if !access.is_deleting {
            store::mark_deleting(&mut tx, id, now).await?;
        }
        let project = view(&mut tx, actor, id).await?;
        if !access.is_deleting {
            let event = Event::new("project.delete", Some(id), "project", id, &project.name);
            audit::record(&mut tx, actor, now, event).await?;
            tx.commit().await?;
        }
        Ok(project)
    }
}

/// Writes a new project and its first owner.
pub(in crate::identity) async fn insert(
    tx: &mut PgConnection,
    actor: &Actor,
    owner: UserId,
    name: &Name,
    now: DateTime<Utc>,
) -> sqlx::Result<ProjectId> {
    let id = ProjectId::new();
    store::insert(tx, id, name.as_str(), now).await?;
    members::store::insert_first(tx, id, owner, now).await?;
    let event = Event::new("project.create", Some(id), "project", id, name.as_str());
    audit::record(tx, actor, now, event).await?;
    Ok(id)
}

async fn view(tx: &mut PgConnection, actor: &Actor, id: ProjectId) -> Result<Project, Error> {
    let one = PageRequest {
        limit: 1,
        after: None,
    };
    let found = store::list(tx, person(actor)?, Some(id), one).await?;
    found.into_iter().next().ok_or(Error::ProjectNotFound)
}
