//! Blocks → workers → one thread that writes them in order.
use std::{
    fs::File,
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use sha2::Digest;

use super::{BLOCK, HEADER, HEADER_LENGTH, LONGEST_MEMBER, Pool};
use crate::{Sha256, flush::Flusher};

pub(crate) struct Compressor {
    /// Of full length; `filled` bytes of it count.
    block: Vec<u8>,
    filled: usize,
    pool: Pool,
    jobs: SyncSender<Job>,
    /// What the workers will answer, in the order of the file.
    ordered: SyncSender<Receiver<io::Result<Vec<u8>>>>,
    workers: Vec<JoinHandle<()>>,
    writer: JoinHandle<io::Result<Compressed>>,
}

pub(crate) struct Compressed {
    pub(crate) file: File,
    pub(crate) bytes: u64,
    pub(crate) sha256: Sha256,
}

struct Job {
    block: Vec<u8>,
    filled: usize,
    answer: SyncSender<io::Result<Vec<u8>>>,
}

impl Compressor {
    /// `level` 0 to 9.
    pub(crate) fn new(out: File, level: u32, threads: usize) -> io::Result<Self> {
        let threads = threads.clamp(1, 16);
        let pool = Pool::default();
        let (jobs, queue) = sync_channel(threads);
        let (ordered, answers) = sync_channel(2 * threads);
        let queue = Arc::new(Mutex::new(queue));
        let level = Compression::new(level.min(9));
        let mut workers = Vec::new();
        for _ in 0..threads {
            let (queue, pool) = (queue.clone(), pool.clone());
            workers.push(thread("archive-deflate", move || {
                work(&queue, &pool, level)
            })?);
        }
        let spare = pool.clone();
        let writer = thread("archive-write", move || write(out, &answers, &spare))?;
        Ok(Self {
            block: vec![0; BLOCK],
            filled: 0,
            pool,
            jobs,
            ordered,
            workers,
            writer,
        })
    }

    /// Where bytes can be put, never empty; then [`Self::filled`].
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.block[self.filled..]
    }

    pub(crate) fn filled(&mut self, bytes: usize) -> io::Result<()> {
        self.filled += bytes;
        if self.filled == BLOCK {
            self.send()?;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let space = self.space();
            let count = bytes.len().min(space.len());
            space[..count].copy_from_slice(&bytes[..count]);
            self.filled(count)?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Zeros, for padding.
    pub(crate) fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let space = self.space();
            let now = usize::try_from(count)
                .unwrap_or(usize::MAX)
                .min(space.len());
            space[..now].fill(0);
            self.filled(now)?;
            count -= now as u64;
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        let mut next = self.pool.take();
        next.resize(BLOCK, 0);
        let block = std::mem::replace(&mut self.block, next);
        let filled = std::mem::take(&mut self.filled);
        let (answer, answered) = sync_channel(1);
        let job = Job {
            block,
            filled,
            answer,
        };
        // When the other side is gone, its own error is the one to tell: see `finish`.
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.ordered.send(answered).map_err(|_| gone())?;
        self.jobs.send(job).map_err(|_| gone())
    }

    /// Gives up; says why nothing could be written any more, if that is so.
    pub(crate) fn abandon(self) -> Option<io::Error> {
        drop((self.jobs, self.ordered));
        match join(self.writer) {
            Ok(written) => written.err(),
            Err(error) => Some(error),
        }
    }

    /// Ends the last block, and brings the file to the disk. After a failed write this gives the reason.
    pub(crate) fn finish(mut self) -> io::Result<Compressed> {
        if self.filled > 0 {
            let _ = self.send();
        }
        drop((self.jobs, self.ordered));
        let written = join(self.writer)?;
        for worker in self.workers {
            join(worker)?;
        }
        let written = written?;
        written.file.sync_all()?;
        Ok(written)
    }
}

pub(super) fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}

fn join<T>(thread: JoinHandle<T>) -> io::Result<T> {
    thread
        .join()
        .map_err(|_| io::Error::other("a thread panicked"))
}

fn work(queue: &Mutex<Receiver<Job>>, pool: &Pool, level: Compression) {
    let mut deflate = Deflate::new(level);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let member = deflate.member(&job.block[..job.filled], pool.take());
        pool.give(job.block);
        if job.answer.send(member).is_err() {
            return;
        }
    }
}

fn write(
    mut out: File,
    answers: &Receiver<Receiver<io::Result<Vec<u8>>>>,
    pool: &Pool,
) -> io::Result<Compressed> {
    let mut hash = sha2::Sha256::new();
    let mut bytes = 0;
    let mut flusher = Flusher::new()?;
    for answer in answers {
        let member = answer
            .recv()
            .map_err(|_| io::Error::other("a thread panicked"))??;
        out.write_all(&member)?;
        hash.update(&member);
        bytes += member.len() as u64;
        flusher.wrote(&out, member.len() as u64);
        pool.give(member);
    }
    flusher.finish()?;
    Ok(Compressed {
        file: out,
        bytes,
        sha256: Sha256(hash.finalize().into()),
    })
}

struct Deflate {
    full: Compress,
    fast: Compress,
    store: Compress,
    probe: Vec<u8>,
}

impl Deflate {
    fn new(level: Compression) -> Self {
        Self {
            full: Compress::new(level, false),
            fast: Compress::new(Compression::fast(), false),
            store: Compress::new(Compression::none(), false),
            probe: Vec::with_capacity(2 * PROBE),
        }
    }

    fn member(&mut self, block: &[u8], mut out: Vec<u8>) -> io::Result<Vec<u8>> {
        out.clear();
        out.reserve(LONGEST_MEMBER);
        out.extend_from_slice(&HEADER);
        out.extend_from_slice(&[0; 4]);
        let dense = self.is_dense(block)?;
        let with = if dense {
            &mut self.store
        } else {
            &mut self.full
        };
        deflate(with, block, &mut out)?;
        let mut crc = Crc::new();
        crc.update(block);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&crc.amount().to_le_bytes());
        let length = u32::try_from(out.len()).map_err(io::Error::other)?;
        out[HEADER_LENGTH - 4..HEADER_LENGTH].copy_from_slice(&length.to_le_bytes());
        Ok(out)
    }

    /// Whether compressing is in vain (pictures, archives, random bytes): it is slowest exactly there.
    fn is_dense(&mut self, block: &[u8]) -> io::Result<bool> {
        if block.len() < BLOCK / 4 {
            return Ok(false);
        }
        let mut small = 0;
        for probe in block.chunks(block.len() / PROBES).take(PROBES) {
            self.probe.clear();
            let probe = &probe[..PROBE.min(probe.len())];
            deflate(&mut self.fast, probe, &mut self.probe)?;
            small += usize::from(self.probe.len() * 100 < probe.len() * 98);
        }
        Ok(small == 0)
    }
}

const PROBES: usize = 8;
const PROBE: usize = 4096;

fn deflate(with: &mut Compress, block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    with.reset();
    let status = with.compress_vec(block, out, FlushCompress::Finish)?;
    if status == Status::StreamEnd {
        return Ok(());
    }
    Err(io::Error::other("a block does not fit its buffer"))
}
