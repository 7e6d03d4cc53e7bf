//! The manifest, which ends the archive.
use std::io::{self, Write};

use ::tar::EntryType;

use super::pack::{Packer, writing};
use crate::{
    Error, MANIFEST, Manifest, Mtime,
    attributes::Attributes,
    error::During,
    gzip::Compressor,
    tar::{Head, padding},
};

impl Packer<'_> {
    pub(super) fn manifest(&mut self, manifest: &Manifest) -> Result<(), Error> {
        let mut count = Count(0);
        let failed = |error: serde_json::Error| Error::io("writing the manifest", error.into());
        serde_json::to_writer(&mut count, manifest).map_err(failed)?;
        self.put(&Head {
            path: MANIFEST,
            kind: EntryType::Regular,
            target: "",
            size: count.0,
            extents: None,
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: Mtime {
                seconds: manifest.created_at.cast_signed(),
                nanos: 0,
            },
            attributes: &Attributes::default(),
        })?;
        serde_json::to_writer(Out(&mut self.out), manifest).map_err(failed)?;
        let end = padding(count.0) + 1024;
        self.out.zeros(end).during(writing)
    }
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Out<'c>(&'c mut Compressor);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
