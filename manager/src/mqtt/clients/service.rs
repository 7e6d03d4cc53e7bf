use super::{
    Client,
    model::{NewClient, PER_PROJECT_MAX, Patch, WithPassword},
    store,
};
use crate::{
    audit,
    crypto::{random_token, sha256},
    db::Tx,
    identity::Role,
    kernel::{Actor, DomainError as _, Kind, MqttClientId, Page, PageRequest, ProjectId, Secret},
    mqtt::{Error, Mqtt},
};

impl Mqtt {
    pub(super) async fn list_clients(
        &self,
        actor: &Actor,
        project: ProjectId,
        page: PageRequest,
    ) -> Result<Page<Client>, Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        self.parts
            .identity
            .require(&mut tx, actor, project, Role::Viewer)
            .await?;
        let clients = store::list(&mut tx, project, page).await?;
        Ok(Page::cut(clients, page, |it| it.id.0))
    }

    pub(super) async fn client(&self, actor: &Actor, id: MqttClientId) -> Result<Client, Error> {
        Ok(self.open_client(actor, id, Role::Viewer).await?.1)
    }

    pub(super) async fn create_client(
        &self,
        actor: &Actor,
        project: ProjectId,
        new: NewClient,
    ) -> Result<WithPassword, Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        self.parts
            .identity
            .require(&mut tx, actor, project, Role::Member)
            .await?;
        let new = new.check()?;
        if PER_PROJECT_MAX <= store::count(&mut tx, project).await? {
            return Err(Error::TooMany);
        }
        let now = self.parts.clock.now();
        let client = Client {
            id: MqttClientId::new(),
            project,
            name: new.name,
            publish: new.publish,
            subscribe: new.subscribe,
            disabled: false,
            last_seen_at: None,
            created_at: now,
            updated_at: now,
        };
        let password = random_token();
        store::insert(&mut tx, &client, sha256(&password)).await?;
        let event = client.event("mqtt_client.create").with(client.rights());
        audit::record(&mut tx, actor, now, event).await?;
        tx.commit().await?;
        self.parts.foundation.credentials.refresh().await;
        let password = Secret::new(password);
        Ok(WithPassword { client, password })
    }

    pub(super) async fn patch_client(
        &self,
        actor: &Actor,
        id: MqttClientId,
        patch: Patch,
    ) -> Result<Client, Error> {
        let (mut tx, stored) = self.open_client(actor, id, Role::Member).await?;
        let client = patch.apply(stored, self.parts.clock.now())?;
        store::update(&mut tx, &client).await?;
        let event = client.event("mqtt_client.update").with(client.rights());
        audit::record(&mut tx, actor, client.updated_at, event).await?;
        tx.commit().await?;
        self.parts.foundation.credentials.refresh().await;
        Ok(client)
    }

    /// A new password; the old one ends at once, and so do connections made
    /// with it.
    pub(super) async fn rotate_client(
        &self,
        actor: &Actor,
        id: MqttClientId,
    ) -> Result<WithPassword, Error> {
        let (mut tx, stored) = self.open_client(actor, id, Role::Member).await?;
        let client = Client {
            updated_at: self.parts.clock.now(),
            ..stored
        };
        let password = random_token();
        store::set_password(&mut tx, &client, sha256(&password)).await?;
        let event = client.event("mqtt_client.rotate");
        audit::record(&mut tx, actor, client.updated_at, event).await?;
        tx.commit().await?;
        self.parts.foundation.credentials.refresh().await;
        let password = Secret::new(password);
        Ok(WithPassword { client, password })
    }

    pub(super) async fn delete_client(&self, actor: &Actor, id: MqttClientId) -> Result<(), Error> {
        let (mut tx, client) = self.open_client(actor, id, Role::Member).await?;
        store::delete(&mut tx, id).await?;
        let event = client.event("mqtt_client.delete");
        audit::record(&mut tx, actor, self.parts.clock.now(), event).await?;
        tx.commit().await?;
        self.parts.foundation.credentials.refresh().await;
        Ok(())
    }

    /// The client in a transaction of the actor's, who has at least `role` in
    /// its project. To a stranger it does not exist.
    async fn open_client(
        &self,
        actor: &Actor,
        id: MqttClientId,
        role: Role,
    ) -> Result<(Tx, Client), Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        // A change is decided on the row that it will meet.
        if role != Role::Viewer {
            store::lock(&mut tx, id).await?;
        }
        let found = store::get(&mut tx, id).await?;
        let client = found.ok_or(Error::ClientNotFound)?;
        let allowed = self
            .parts
            .identity
            .require(&mut tx, actor, client.project, role)
            .await;
        match allowed {
            Ok(_) => Ok((tx, client)),
            Err(error) if error.kind() == Kind::NotFound => Err(Error::ClientNotFound),
            Err(error) => Err(error.into()),
        }
    }
}
