use super::store;
use crate::{
    crypto::{random_token, sha256},
    identity::{
        Error, Identity,
        sessions::{self, Origin},
        users::{self, Draft},
    },
    kernel::{Actor, Secret},
};

impl Identity {
    /// Whether there is no user yet.
    pub async fn setup_needed(&self) -> Result<bool, Error> {
        let mut tx = self.db.begin_system().await?;
        Ok(!users::store::any(&mut tx).await?)
    }

    /// A fresh one-time token for the setup link while there is no user; a
    /// former one is void from here on. `None` when setup is done.
    pub async fn ensure_setup_token(&self) -> Result<Option<Secret>, Error> {
        let mut tx = self.db.begin_system().await?;
        store::lock(&mut tx).await?;
        if users::store::any(&mut tx).await? {
            return Ok(None);
        }
        let token = Secret::new(random_token());
        store::set_token(&mut tx, &sha256(token.expose()), self.clock.now()).await?;
        tx.commit().await?;
        Ok(Some(token))
    }

    /// Makes the first administrator from the configuration; whether it did.
    /// With any user there already it does nothing.
    pub async fn ensure_admin(&self, email: &str, password: &Secret) -> Result<bool, Error> {
        if !self.setup_needed().await? {
            return Ok(false);
        }
        let local = email.split('@').next().unwrap_or(email);
        let draft = Draft::parse(email, local, password.clone(), true)?;
        let new = self.hashed(draft).await;
        let mut tx = self.db.begin_system().await?;
        store::lock(&mut tx).await?;
        if users::store::any(&mut tx).await? {
            return Ok(false); // another manager was faster
        }
        store::drop_token(&mut tx).await?;
        users::insert(&mut tx, &Actor::System("setup"), &new, self.clock.now()).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Makes the first administrator, for the bearer of the one-time token,
    /// and signs them in: returns the cookie's token.
    pub(super) async fn set_up(
        &self,
        token: &Secret,
        draft: Draft,
        origin: &Origin,
    ) -> Result<Secret, Error> {
        let token_hash = sha256(token.expose());
        // Before the work of hashing a stranger's password.
        let mut tx = self.db.begin_system().await?;
        if users::store::any(&mut tx).await? {
            return Err(Error::SetupDone);
        }
        if !store::is_token(&mut tx, &token_hash).await? {
            return Err(Error::BadSetupToken);
        }
        drop(tx);
        let new = self.hashed(draft).await;

        let now = self.clock.now();
        let mut tx = self.db.begin_system().await?;
        store::lock(&mut tx).await?;
        if !store::take_token(&mut tx, &token_hash).await? {
            let is_done = users::store::any(&mut tx).await?;
            return Err(if is_done {
                Error::SetupDone
            } else {
                Error::BadSetupToken
            });
        }
        let address = origin.address;
        let user = users::insert(&mut tx, &Actor::Setup { address }, &new, now).await?;
        let (_, session) = sessions::open(&mut tx, user.id, origin, now).await?;
        tx.commit().await?;
        Ok(session)
    }
}
