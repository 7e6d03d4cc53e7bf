use super::{Event, store};
use crate::{
    identity::Role,
    kernel::{Actor, Page, PageRequest, ProjectId},
    mqtt::{Error, Mqtt},
};

impl Mqtt {
    /// Newest first.
    pub(super) async fn list_events(
        &self,
        actor: &Actor,
        project: ProjectId,
        page: PageRequest,
    ) -> Result<Page<Event>, Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        self.parts
            .identity
            .require(&mut tx, actor, project, Role::Viewer)
            .await?;
        let events = store::list(&mut tx, project, page).await?;
        Ok(Page::cut(events, page, |it| it.id.0))
    }
}
