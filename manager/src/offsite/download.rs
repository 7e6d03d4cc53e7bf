use std::path::{Path as FilePath, PathBuf};

use object_store::{GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _};
use tokio::{
    fs::{self, File, OpenOptions},
    io::AsyncWriteExt as _,
};

use super::{Error, Offsite};

/// In one request, which is repeated as a whole when it breaks.
const CHUNK_BYTES: u64 = 8 << 20;

impl Offsite {
    /// Fetches the object into `file`, which is there whole or not at all.
    /// `progress` is told the bytes so far and in all; `false` ends it. The
    /// bytes that came.
    pub async fn get(
        &self,
        key: &str,
        file: &FilePath,
        progress: &mut (dyn FnMut(u64, u64) -> bool + Send),
    ) -> Result<u64, Error> {
        let beside = beside(file);
        let fetched = self.fetch(key, &beside, progress).await;
        let renamed = match fetched {
            Ok(bytes) => fs::rename(&beside, file)
                .await
                .map(|()| bytes)
                .map_err(Error::file(file)),
            Err(error) => Err(error),
        };
        if renamed.is_err() {
            let _ = fs::remove_file(&beside).await;
        }
        renamed
    }

    async fn fetch(
        &self,
        key: &str,
        file: &FilePath,
        progress: &mut (dyn FnMut(u64, u64) -> bool + Send),
    ) -> Result<u64, Error> {
        let path = self.path(key)?;
        let failed = |error| Error::of(error, key);
        let head = self.store.head(&path).await.map_err(failed)?;
        let mut out = create(file).await?;
        let mut done = 0;
        while done < head.size {
            if !progress(done, head.size) {
                return Err(Error::Stopped);
            }
            let end = head.size.min(done + CHUNK_BYTES);
            let options = GetOptions {
                // All pieces of one and the same object.
                if_match: head.e_tag.clone(),
                range: Some(GetRange::Bounded(done..end)),
                ..GetOptions::default()
            };
            let got = self.store.get_opts(&path, options).await.map_err(failed)?;
            let bytes = got.bytes().await.map_err(failed)?;
            if bytes.len() as u64 != end - done {
                return Err(Error::NotWhole {
                    there: done + bytes.len() as u64,
                    expected: head.size,
                });
            }
            out.write_all(&bytes).await.map_err(Error::file(file))?;
            done = end;
        }
        out.flush().await.map_err(Error::file(file))?;
        out.sync_all().await.map_err(Error::file(file))?;
        progress(done, head.size);
        Ok(done)
    }
}

async fn create(file: &FilePath) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file).await.map_err(Error::file(file))
}

fn beside(path: &FilePath) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
