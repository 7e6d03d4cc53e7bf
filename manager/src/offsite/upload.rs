use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use object_store::{
    ObjectStoreExt as _, PutPayload,
    multipart::{MultipartStore as _, PartId},
    path::Path,
};

use super::{
    Error, Offsite, Source, UploadState,
    model::{PART_BYTES, part_bytes},
    seal::seal,
};

/// Each takes [`PART_BYTES`] of memory.
const PARTS_AT_ONCE: usize = 2;

/// Who looks on while a file goes over.
#[async_trait]
pub trait Watch: Send {
    /// The upload was begun, or another part is there: keep `state`. An error
    /// ends the upload; it can go on from there.
    async fn advanced(&mut self, state: &UploadState) -> Result<(), Error>;
}

/// A file to be copied.
#[derive(Clone, Debug)]
pub struct Upload<'a> {
    pub file: &'a FilePath,
    /// Where it is encrypted to first, if it is. Kept for the next attempt
    /// when this one fails, removed by the one that succeeds.
    pub spool: &'a FilePath,
    /// From [`Offsite::key`].
    pub key: &'a str,
    /// How far the last attempt came.
    pub before: Option<UploadState>,
}

/// What is sent: the file itself, or what it was encrypted to.
struct Sent {
    path: PathBuf,
    file: Arc<File>,
    source: Source,
    sent: Source,
    bytes: u64,
}

impl Offsite {
    /// Copies the file there, from where the last attempt came to. The bytes
    /// that it takes there.
    pub async fn put(&self, upload: Upload<'_>, watch: &mut dyn Watch) -> Result<u64, Error> {
        let Upload {
            file,
            spool,
            key,
            before,
        } = upload;
        let sent = self.sent(file, spool, before.as_ref()).await?;
        let path = self.path(key)?;
        if sent.bytes <= PART_BYTES {
            if let Some(before) = &before {
                self.abort(before).await;
            }
            let payload = PutPayload::from_bytes(read(&sent, 0, sent.bytes).await?);
            let put = self.store.put(&path, payload).await;
            put.map_err(|error| Error::of(error, key))?;
        } else {
            let state = self.begin_or_go_on(&path, &sent, before, watch).await?;
            self.send_rest(&path, &sent, state, watch).await?;
        }
        let unchanged = stat(file).await? == sent.source;
        let there = self.store.head(&path).await;
        let there = there.map_err(|error| Error::of(error, key))?.size;
        if there != sent.bytes || !unchanged {
            self.delete(key).await?;
            return Err(match unchanged {
                true => Error::NotWhole {
                    there,
                    expected: sent.bytes,
                },
                false => Error::Changed(file.display().to_string()),
            });
        }
        if self.encrypts() {
            let _ = tokio::fs::remove_file(spool).await;
        }
        Ok(sent.bytes)
    }

    /// Gives up an upload that will not go on: the store forgets its parts. It
    /// matters little when that fails, but for the room that they take there.
    pub async fn abort(&self, state: &UploadState) {
        let path = Path::parse(&state.key);
        if let Ok(path) = path
            && let Err(error) = self.store.abort_multipart(&path, &state.upload_id).await
        {
            tracing::debug!("an upload to {} was not given up: {error}", state.key);
        }
    }

    async fn sent(
        &self,
        file: &FilePath,
        spool: &FilePath,
        before: Option<&UploadState>,
    ) -> Result<Sent, Error> {
        let source = stat(file).await?;
        let path = match &self.recipient {
            None => file,
            Some(recipient) => {
                // A spool that the state does not name may be of another file.
                let spooled = stat(spool).await.ok();
                let fits = |it: &UploadState| it.source == source && Some(it.sent) == spooled;
                if !before.is_some_and(fits) {
                    seal(file, spool, recipient).await?;
                }
                spool
            }
        };
        let opened = open(path).await?;
        let metadata = opened.metadata().map_err(Error::file(path))?;
        Ok(Sent {
            path: path.to_owned(),
            file: Arc::new(opened),
            source,
            sent: Source::of(&metadata),
            bytes: metadata.len(),
        })
    }

    async fn begin_or_go_on(
        &self,
        path: &Path,
        sent: &Sent,
        before: Option<UploadState>,
        watch: &mut dyn Watch,
    ) -> Result<UploadState, Error> {
        if let Some(before) = before {
            let is_same = before.key == path.as_ref()
                && before.source == sent.source
                && before.sent == sent.sent
                && before.total_bytes == sent.bytes
                && before.part_bytes == part_bytes(sent.bytes)
                && before.parts.len() as u64 <= before.parts_in_all();
            if is_same {
                return Ok(before);
            }
            self.abort(&before).await;
        }
        self.begin(path, sent, watch).await
    }

    async fn begin(
        &self,
        path: &Path,
        sent: &Sent,
        watch: &mut dyn Watch,
    ) -> Result<UploadState, Error> {
        let begun = self.store.create_multipart(path).await;
        let state = UploadState {
            key: path.to_string(),
            upload_id: begun.map_err(|error| Error::of(error, path.as_ref()))?,
            source: sent.source,
            sent: sent.sent,
            total_bytes: sent.bytes,
            part_bytes: part_bytes(sent.bytes),
            parts: Vec::new(),
        };
        if let Err(error) = watch.advanced(&state).await {
            // Nobody would know of it.
            self.abort(&state).await;
            return Err(error);
        }
        Ok(state)
    }

    async fn send_rest(
        &self,
        path: &Path,
        sent: &Sent,
        state: UploadState,
        watch: &mut dyn Watch,
    ) -> Result<(), Error> {
        let result = self.send_parts(path, sent, state, watch).await;
        let Err(Error::NotFound(_)) = result else {
            return result;
        };
        // The store has forgotten the upload: it was completed and we died
        // before we knew, or it was cleaned away.
        match self.store.head(path).await {
            Ok(it) if it.size == sent.bytes => return Ok(()),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(Error::of(error, path.as_ref())),
        }
        let state = self.begin(path, sent, watch).await?;
        self.send_parts(path, sent, state, watch).await
    }

    async fn send_parts(
        &self,
        path: &Path,
        sent: &Sent,
        mut state: UploadState,
        watch: &mut dyn Watch,
    ) -> Result<(), Error> {
        let upload = state.upload_id.clone();
        let (begin, size) = (state.parts.len() as u64, state.part_bytes);
        let failed = |error| Error::of(error, path.as_ref());
        let mut parts = stream::iter(begin..state.parts_in_all())
            .map(|n| {
                let upload = &upload;
                async move {
                    let bytes = size.min(sent.bytes - n * size);
                    let payload = PutPayload::from_bytes(read(sent, n * size, bytes).await?);
                    let index = usize::try_from(n).unwrap_or(usize::MAX);
                    let put = self.store.put_part(path, upload, index, payload);
                    put.await.map_err(failed)
                }
            })
            .buffered(PARTS_AT_ONCE);
        while let Some(part) = parts.next().await {
            state.parts.push(part?.content_id);
            watch.advanced(&state).await?;
        }
        let ids = state.parts.into_iter();
        let ids = ids.map(|content_id| PartId { content_id }).collect();
        let done = self.store.complete_multipart(path, &upload, ids).await;
        done.map(|_| ()).map_err(failed)
    }
}

async fn stat(path: &FilePath) -> Result<Source, Error> {
    let metadata = tokio::fs::metadata(path).await.map_err(Error::file(path))?;
    Ok(Source::of(&metadata))
}

async fn open(path: &FilePath) -> Result<File, Error> {
    let opened = tokio::fs::File::open(path).await;
    Ok(opened.map_err(Error::file(path))?.into_std().await)
}

async fn read(sent: &Sent, offset: u64, bytes: u64) -> Result<Bytes, Error> {
    let file = sent.file.clone();
    let work = move || {
        let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut buffer, offset).map(|()| buffer)
    };
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| Error::Refused(error.to_string()))?;
    Ok(done.map_err(Error::file(&sent.path))?.into())
}
