//! Brings data to the disk while more of it is being made, so that little is left to wait for at the end, and the page
//! cache does not fill with what nobody reads.
use std::{
    fs::File,
    io,
    sync::mpsc::{SyncSender, sync_channel},
    thread::JoinHandle,
};

/// So much has to be new before it is worth it.
const STRETCH: u64 = 16 << 20;

pub(crate) struct Flusher {
    files: Option<SyncSender<File>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    new: u64,
}

impl Flusher {
    pub(crate) fn new() -> io::Result<Self> {
        let (files, queue) = sync_channel::<File>(1);
        let flush = move || queue.into_iter().try_for_each(|file| file.sync_data());
        let thread = std::thread::Builder::new().name("archive-flush".into());
        Ok(Self {
            files: Some(files),
            thread: Some(thread.spawn(flush)?),
            new: 0,
        })
    }

    /// So many bytes were written to the file.
    pub(crate) fn wrote(&mut self, file: &File, bytes: u64) {
        self.new += bytes;
        if self.new < STRETCH {
            return;
        }
        // When it is busy, the next stretch will be longer.
        if let (Some(files), Ok(file)) = (&self.files, file.try_clone())
            && files.try_send(file).is_ok()
        {
            self.new = 0;
        }
    }

    /// The system tells an error of writing once: what was told here is not told to who syncs the file at the end.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        self.files = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(io::Error::other("a thread panicked")),
            Some(Ok(flushed)) => flushed,
            None => Ok(()),
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        // Another error is on its way, or it was finished.
        let _ = self.join();
    }
}
