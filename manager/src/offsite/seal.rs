use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    iter,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use age::{Encryptor, x25519::Recipient};

use super::Error;

/// Encrypts `file` into `spool`, which is there whole or not at all. What is
/// sent has to be the same bytes after an interruption, and encrypting twice
/// never gives the same.
pub(super) async fn seal(file: &Path, spool: &Path, recipient: &Recipient) -> Result<(), Error> {
    let (file, spool, recipient) = (file.to_owned(), spool.to_owned(), recipient.clone());
    let work = move || {
        let beside = beside(&spool);
        let sealed =
            seal_now(&file, &beside, &recipient).and_then(|()| fs::rename(&beside, &spool));
        if sealed.is_err() {
            // A full disk is the likeliest reason.
            let _ = fs::remove_file(&beside);
        }
        sealed.map_err(Error::file(&spool))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Refused(error.to_string()))?
}

fn seal_now(file: &Path, out: &Path, recipient: &Recipient) -> io::Result<()> {
    let mut input = File::open(file)?;
    let out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(out)?;
    let encryptor = Encryptor::with_recipients(iter::once(recipient as _));
    let encryptor = encryptor.map_err(io::Error::other)?;
    let mut writer = encryptor.wrap_output(BufWriter::with_capacity(256 << 10, out))?;
    io::copy(&mut input, &mut writer)?;
    let out = writer.finish()?.into_inner().map_err(io::Error::from)?;
    out.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}
