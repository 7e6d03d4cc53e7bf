//! Entries out of a tar stream. What they may be called and do is not decided here.
use ::tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::{BLOCK, padding, pax, sparse};
use crate::{Error, Mtime, attributes::Attributes, content::Extents, read::Stream};

/// A PAX header or a long name may have this length.
const LONGEST_HEADER: u64 = 1 << 20;

/// An entry; its data is read by [`Reader::data`].
pub(crate) struct Found {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: FoundKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Mtime,
    pub(crate) attributes: Attributes,
}

pub(crate) enum FoundKind {
    Folder,
    /// `extents`: of a sparse file.
    File {
        size: u64,
        extents: Option<Extents>,
    },
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    /// Anything else, in words.
    Other(&'static str),
}

pub(crate) struct Reader {
    stream: Stream,
    /// Of the current entry: data not read yet, and what fills it up.
    data: u64,
    padding: u64,
}

/// What is said of the next entry in headers of their own.
#[derive(Default)]
struct Ahead {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<Mtime>,
    sparse_path: Option<Vec<u8>>,
    sparse_size: Option<u64>,
    sparse: bool,
    attributes: Attributes,
}

impl Reader {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            data: 0,
            padding: 0,
        }
    }

    /// The next entry; None at the end of the archive, after which there was nothing else.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, Error> {
        while self.data()?.is_some() {}
        let mut ahead = Ahead::default();
        loop {
            let Some(header) = self.header()? else {
                self.stream.only_zeros()?;
                return Ok(None);
            };
            let size = header.entry_size().map_err(malformed)?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let records = self.small(size)?;
                    ahead.records(&records)?;
                }
                // About the archive, not about an entry.
                EntryType::XGlobalHeader => drop(self.small(size)?),
                EntryType::GNULongName => ahead.path = Some(text(self.small(size)?)),
                EntryType::GNULongLink => ahead.target = Some(text(self.small(size)?)),
                _ => return self.entry(&header, ahead).map(Some),
            }
        }
    }

    /// At most so many bytes of the current entry's data; none after the last.
    pub(crate) fn some_data(&mut self, most: usize) -> Result<&[u8], Error> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let piece = self.stream.piece(self.data.min(most as u64))?;
        self.data -= piece.len() as u64;
        Ok(piece)
    }

    /// The next piece of the current entry's data; None after the last.
    pub(crate) fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        if self.data == 0 {
            self.stream.skip(std::mem::take(&mut self.padding))?;
            return Ok(None);
        }
        let piece = self.stream.piece(self.data)?;
        self.data -= piece.len() as u64;
        Ok(Some(piece))
    }

    fn entry(&mut self, header: &Header, ahead: Ahead) -> Result<Found, Error> {
        let stored = match ahead.size {
            Some(size) => size,
            None => header.entry_size().map_err(malformed)?,
        };
        if stored > i64::MAX as u64 {
            return Err(Error::damaged("an entry's size makes no sense"));
        }
        let path = ahead.sparse_path.as_ref().or(ahead.path.as_ref());
        let path = path.map_or_else(|| header.path_bytes().into_owned(), Vec::clone);
        let target = || {
            let short = || header.link_name_bytes().unwrap_or_default().into_owned();
            ahead.target.clone().unwrap_or_else(short)
        };
        let mut data = 0;
        let kind = match header.entry_type() {
            // Old archives mark folders by the name alone.
            EntryType::Regular if path.ends_with(b"/") => FoundKind::Folder,
            EntryType::Regular | EntryType::Continuous => {
                data = stored;
                self.regular(&ahead, &mut data)?
            }
            EntryType::GNUSparse => {
                data = stored;
                self.old_sparse(header, stored)?
            }
            EntryType::Directory => FoundKind::Folder,
            EntryType::Symlink => FoundKind::Symlink(target()),
            EntryType::Link => FoundKind::HardLink(target()),
            EntryType::Fifo => FoundKind::Other("it is a FIFO"),
            EntryType::Block | EntryType::Char => FoundKind::Other("it is a device"),
            _ => FoundKind::Other("its type is not known"),
        };
        (self.data, self.padding) = (data, padding(data));
        // The highest number means "nobody" to the system.
        let owner = |id: u64| match u32::try_from(id) {
            Ok(id) if id < u32::MAX => Ok(id),
            _ => Err(Error::damaged("an owner is too big")),
        };
        let seconds = header.mtime().map_err(malformed)?;
        let seconds = i64::try_from(seconds).map_err(|_| Error::damaged("a time is too big"))?;
        Ok(Found {
            path,
            kind,
            mode: header.mode().map_err(malformed)? & 0o7777,
            uid: owner(
                ahead
                    .uid
                    .map_or_else(|| header.uid(), Ok)
                    .map_err(malformed)?,
            )?,
            gid: owner(
                ahead
                    .gid
                    .map_or_else(|| header.gid(), Ok)
                    .map_err(malformed)?,
            )?,
            mtime: ahead.mtime.unwrap_or(Mtime { seconds, nanos: 0 }),
            attributes: ahead.attributes,
        })
    }

    fn regular(&mut self, ahead: &Ahead, data: &mut u64) -> Result<FoundKind, Error> {
        if !ahead.sparse {
            return Ok(FoundKind::File {
                size: *data,
                extents: None,
            });
        }
        let size = ahead
            .sparse_size
            .ok_or_else(|| Error::damaged("a sparse file has no size"))?;
        let extents = self.map(data)?;
        sparse::verify(&extents, size, *data)?;
        Ok(FoundKind::File {
            size,
            extents: Some(extents),
        })
    }

    /// The map before a sparse file's data, in whole blocks, which are taken off `data`.
    fn map(&mut self, data: &mut u64) -> Result<Extents, Error> {
        let wrong = || Error::damaged("a sparse file's map cannot be read");
        let mut block = [0; BLOCK];
        let mut at = BLOCK;
        let mut number = || {
            let mut value: u64 = 0;
            let mut digits = 0;
            loop {
                if at == BLOCK {
                    *data = data.checked_sub(BLOCK as u64).ok_or_else(wrong)?;
                    self.stream.fill(&mut block)?;
                    at = 0;
                }
                let byte = block[at];
                at += 1;
                match byte {
                    b'\n' if digits > 0 => return Ok(value),
                    b'0'..=b'9' if digits < 19 => {
                        digits += 1;
                        value = value * 10 + u64::from(byte - b'0');
                    }
                    _ => return Err(wrong()),
                }
            }
        };
        let count = number()?;
        if count > sparse::MOST_EXTENTS {
            return Err(Error::TooBig("a sparse file's map is too long".into()));
        }
        (0..count).map(|_| Ok((number()?, number()?))).collect()
    }

    /// GNU tar's own kind: four extents in the header, more in blocks after it.
    fn old_sparse(&mut self, header: &Header, stored: u64) -> Result<FoundKind, Error> {
        let gnu = header
            .as_gnu()
            .ok_or_else(|| Error::damaged("a sparse file's header makes no sense"))?;
        let size = gnu.real_size().map_err(malformed)?;
        let mut extents = Extents::new();
        let mut push = |fields: &[GnuSparseHeader]| -> Result<(), Error> {
            for field in fields.iter().filter(|field| !field.is_empty()) {
                extents.push((
                    field.offset().map_err(malformed)?,
                    field.length().map_err(malformed)?,
                ));
            }
            if extents.len() as u64 > sparse::MOST_EXTENTS {
                return Err(Error::TooBig("a sparse file's map is too long".into()));
            }
            Ok(())
        };
        push(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = GnuExtSparseHeader::new();
            self.stream.fill(block.as_mut_bytes())?;
            push(&block.sparse)?;
            more = block.is_extended();
        }
        sparse::verify(&extents, size, stored)?;
        Ok(FoundKind::File {
            size,
            extents: Some(extents),
        })
    }

    /// The next header; None for the block of zeros that ends the archive.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        let mut header = Header::new_old();
        self.stream.fill(header.as_mut_bytes())?;
        let bytes = header.as_bytes();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
        let own: u32 = bytes[148..156].iter().map(|byte| u32::from(*byte)).sum();
        match header.cksum() {
            Ok(told) if told == sum - own + 8 * u32::from(b' ') => Ok(Some(header)),
            _ if self.stream.read() == BLOCK as u64 => Err(Error::WrongFormat(
                "what is compressed in it is not a tar archive".into(),
            )),
            _ => Err(Error::damaged("a header's checksum is wrong")),
        }
    }

    fn small(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > LONGEST_HEADER {
            return Err(Error::TooBig(
                "a name or its attributes are too long".into(),
            ));
        }
        let mut bytes = vec![0; size as usize];
        self.stream.fill(&mut bytes)?;
        self.stream.skip(padding(size))?;
        Ok(bytes)
    }
}

impl Ahead {
    fn records(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let wrong = |key: &str| Error::damaged(format!("the attribute '{key}' makes no sense"));
        let records =
            pax::parse(bytes).ok_or_else(|| Error::damaged("attributes make no sense"))?;
        for (key, value) in records {
            let string = || std::str::from_utf8(value).ok();
            let number = || {
                string()
                    .and_then(|text| text.parse().ok())
                    .ok_or(wrong(key))
            };
            match key {
                "path" => self.path = Some(value.to_vec()),
                sparse::NAME => self.sparse_path = Some(value.to_vec()),
                "linkpath" => self.target = Some(value.to_vec()),
                "size" => self.size = Some(number()?),
                "uid" => self.uid = Some(number()?),
                "gid" => self.gid = Some(number()?),
                "mtime" => {
                    let mtime = string().and_then(|text| text.parse().ok());
                    self.mtime = Some(mtime.ok_or(wrong(key))?);
                }
                "GNU.sparse.major" if value == b"1" => self.sparse = true,
                "GNU.sparse.minor" if value == b"0" => {}
                sparse::SIZE => self.sparse_size = Some(number()?),
                key if key.starts_with("GNU.sparse.") => {
                    let what = "it holds a sparse file in a form that is not known here";
                    return Err(Error::WrongFormat(what.into()));
                }
                // Among others atime, ctime and names of owners: not restored.
                key => drop(self.attributes.add(key, value).map_err(Error::damaged)?),
            }
        }
        Ok(())
    }
}

/// Without the zero that ends it.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(error: std::io::Error) -> Error {
    Error::damaged(format!("a header makes no sense ({error})"))
}
