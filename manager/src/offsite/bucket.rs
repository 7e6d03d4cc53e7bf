use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload, aws::AmazonS3, path::Path};
use uuid::Uuid;

use super::{Error, connect::connect};
use crate::config::OffsiteConfig;

const PATIENCE: Duration = Duration::from_secs(120);
/// More are not listed.
const LISTED_MAX: usize = 200_000;

/// The bucket of the settings. Keys are below its prefix, with `/` between
/// folders.
pub struct Offsite {
    pub(super) store: AmazonS3,
    pub(super) recipient: Option<age::x25519::Recipient>,
    prefix: Path,
    name: String,
}

/// An object in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub bytes: u64,
    pub modified_at: DateTime<Utc>,
}

impl fmt::Debug for Offsite {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Offsite").field(&self.name).finish()
    }
}

impl Offsite {
    /// Does no I/O; `None` when no bucket is set.
    pub fn new(config: &OffsiteConfig) -> Result<Option<Self>, Error> {
        Self::with_patience(config, PATIENCE)
    }

    /// The same; a request is tried anew for `patience` before the store
    /// counts as away.
    pub fn with_patience(
        config: &OffsiteConfig,
        patience: Duration,
    ) -> Result<Option<Self>, Error> {
        let Some(url) = &config.url else {
            return Ok(None);
        };
        let prefix = Path::parse(&url.prefix).map_err(|it| Error::Settings(it.to_string()))?;
        Ok(Some(Self {
            store: connect(config, url, patience)?,
            recipient: config.recipient().map_err(Error::Settings)?,
            name: format!("s3://{}/{}", url.bucket, url.prefix),
            prefix,
        }))
    }

    /// For people: `s3://bucket/prefix`.
    pub fn name(&self) -> &str {
        self.name.trim_end_matches('/')
    }

    /// Whether files are encrypted before they leave.
    pub fn encrypts(&self) -> bool {
        self.recipient.is_some()
    }

    /// What a file of that name is called in the bucket.
    pub fn key(&self, name: &str) -> String {
        match self.encrypts() {
            true => format!("{name}{}", Self::SEALED),
            false => name.to_owned(),
        }
    }

    /// Ends the key of an encrypted copy.
    pub const SEALED: &str = ".age";

    /// Those whose key begins with the folder `below` (empty: all), in no
    /// order.
    pub async fn list(&self, below: &str) -> Result<Vec<Listed>, Error> {
        let folder = self.path(below)?;
        let mut found = Vec::new();
        let mut listed = self.store.list(Some(&folder));
        while let Some(it) = listed.try_next().await.map_err(|it| Error::of(it, below))? {
            if found.len() == LISTED_MAX {
                break;
            }
            let Some(rest) = it.location.prefix_match(&self.prefix) else {
                continue;
            };
            let parts: Vec<_> = rest.map(|it| it.as_ref().to_owned()).collect();
            found.push(Listed {
                key: parts.join("/"),
                bytes: it.size,
                modified_at: it.last_modified,
            });
        }
        Ok(found)
    }

    /// Fine when it is gone already.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        match self.store.delete(&self.path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::of(error, key)),
        }
    }

    /// Whether the bucket answers and a small object can be written, read,
    /// listed and deleted.
    pub async fn check(&self) -> Result<(), Error> {
        let key = format!("openflow-check-{}", Uuid::now_v7());
        let path = self.path(&key)?;
        let text = b"Openflow looks whether it can write here.";
        let put = self.store.put(&path, PutPayload::from_static(text)).await;
        put.map_err(|error| Error::of(error, &key))?;
        let read = async {
            let got = self.store.get(&path).await?;
            got.bytes().await
        };
        let read = read.await.map_err(|error| Error::of(error, &key));
        let listed = self.store.list(Some(&self.prefix)).try_next().await;
        self.delete(&key).await?;
        listed.map_err(|error| Error::of(error, &key))?;
        match read?.as_ref() == text {
            true => Ok(()),
            false => Err(Error::Refused(
                "it gave back other bytes than were put".into(),
            )),
        }
    }

    /// A key below the prefix. Keys are ours: of letters, digits and `-._/`.
    pub(super) fn path(&self, key: &str) -> Result<Path, Error> {
        let below = Path::parse(key).map_err(|it| Error::Refused(it.to_string()))?;
        Ok(self.prefix.parts().chain(below.parts()).collect())
    }
}
