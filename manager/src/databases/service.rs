use std::{future::Future, path::Path, sync::Arc, time::Duration};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Error, Login, Relay,
    model::{Server, own_name, trial_id},
    store,
};
use crate::kernel::{InstanceId, Secret};

/// For everything that one call says to the server.
const LIMIT: Duration = Duration::from_secs(30);
/// Of the server.
const VERSION_MIN: i32 = 13_00_00;

/// Makes and removes them. Without a server it refuses all of it.
#[derive(Clone, Default)]
pub struct Databases {
    server: Option<Arc<Server>>,
}

/// What to say of the server, for `openflow doctor`.
#[derive(Clone, Debug)]
pub struct Open {
    /// `host:port`
    pub address: String,
    pub version: String,
    /// Databases that any role of the server may connect to.
    pub databases: Vec<String>,
}

impl Databases {
    /// Does no I/O. Fails with what is wrong about the URL.
    pub fn new(url: Option<&Secret>) -> Result<Self, String> {
        let server = url.map(Server::parse).transpose()?;
        Ok(Self {
            server: server.map(Arc::new),
        })
    }

    fn server(&self) -> Result<&Server, Error> {
        self.server.as_deref().ok_or(Error::NoServer)
    }

    /// Fails with [`Error::NoServer`].
    pub fn require(&self) -> Result<(), Error> {
        self.server().map(drop)
    }

    /// Host and port that instances reach it at; `None` for the host when it is
    /// this one, where they come by the gateway's address.
    pub fn address(&self) -> Option<(Option<&str>, u16)> {
        let server = self.server.as_deref()?;
        let host = server.options.get_host();
        Some((
            (!server.is_here()).then_some(host),
            server.options.get_port(),
        ))
    }

    /// What an instance is told. Fails without a server.
    pub fn url(&self, login: &Login) -> Result<Secret, Error> {
        Ok(self.server()?.url(login))
    }

    /// The same by a [`Relay`] whose folder is at `folder` in the container.
    pub fn relayed_url(&self, login: &Login, folder: &str) -> Result<Secret, Error> {
        Ok(self.server()?.relayed_url(login, folder))
    }

    /// A socket in `folder` that leads to the server until it is dropped.
    pub fn relay(&self, folder: &Path) -> Result<Relay, Error> {
        let server = self.server()?;
        let host = server.options.get_host().trim_matches(['[', ']']);
        let to = (host.to_owned(), server.options.get_port());
        Relay::open(folder, to).map_err(|error| Error::Server {
            server: server.address(),
            why: format!("cannot be relayed: {error}"),
        })
    }

    /// The database and its role, made if they are not there.
    pub async fn ensure(&self, it: &Login) -> Result<(), Error> {
        self.asked(async |conn| {
            let is_new = !store::has_role(conn, &it.name).await?;
            store::make_role(conn, it, is_new).await?;
            match store::has_database(conn, &it.name).await? {
                true => Ok(()),
                false => store::make_database(conn, &it.name).await,
            }
        })
        .await
    }

    /// With all that is in it. Fine when it is gone.
    pub async fn remove(&self, it: &Login) -> Result<(), Error> {
        self.remove_named(&it.name).await
    }

    /// An instance's own.
    pub async fn remove_of(&self, id: InstanceId) -> Result<(), Error> {
        self.remove_named(&own_name(id)).await
    }

    async fn remove_named(&self, name: &str) -> Result<(), Error> {
        self.asked(async |conn| {
            store::remove_database(conn, name).await?;
            store::remove_role(conn, name).await
        })
        .await
    }

    /// A throwaway one; [`Databases::remove`] it.
    pub async fn trial(&self) -> Result<Login, Error> {
        let login = Login::trial();
        self.ensure(&login).await?;
        Ok(login)
    }

    /// Removes the throwaway ones that killed managers left: those that `is_old`.
    pub async fn sweep(&self, is_old: impl Fn(Uuid) -> bool) -> Result<(), Error> {
        if self.server.is_none() {
            return Ok(());
        }
        self.asked(async |conn| {
            for name in store::databases(conn).await? {
                if trial_id(&name).is_some_and(&is_old) {
                    store::remove_database(conn, &name).await?;
                    store::remove_role(conn, &name).await?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Whether the server can be used, for `openflow doctor`; `None` when there
    /// is none.
    pub async fn look(&self) -> Result<Option<Open>, Error> {
        let Some(server) = &self.server else {
            return Ok(None);
        };
        let about = self.asked(store::about).await?;
        let why = if !about.may_make {
            Some("does not let this role make databases and roles: give it CREATEDB and CREATEROLE")
        } else if about.version_num < VERSION_MIN {
            Some("is older than 13")
        } else {
            None
        };
        match why {
            Some(why) => Err(Error::Server {
                server: server.address(),
                why: format!("{why}."),
            }),
            None => Ok(Some(Open {
                address: server.address(),
                version: about.version,
                databases: about.open,
            })),
        }
    }

    /// Does `work` on a connection of its own.
    async fn asked<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<T, Error> {
        let server = self.server()?;
        let all = async {
            let mut conn = server
                .options
                .clone()
                .disable_statement_logging()
                .connect()
                .await?;
            let done = work(&mut conn).await;
            let _ = conn.close().await; // what was done is done
            done
        };
        let why = match bounded(all).await {
            Ok(value) => return Ok(value),
            Err(why) => why,
        };
        Err(Error::Server {
            server: server.address(),
            why,
        })
    }
}

async fn bounded<T>(work: impl Future<Output = sqlx::Result<T>>) -> Result<T, String> {
    match timeout(LIMIT, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sqlx::Error::Database(error))) => Err(format!("refused: {}.", error.message())),
        Ok(Err(sqlx::Error::Io(error))) => Err(format!("cannot be reached: {error}.")),
        Ok(Err(error)) => Err(format!("did not do it: {error}.")),
        Err(_) => Err("does not answer in time.".to_owned()),
    }
}
