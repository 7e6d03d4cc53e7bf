//! One thread cuts the file into members, workers decompress them, the reader gets them in order.
use std::{
    fs::File,
    io::{self, Read},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use flate2::{Crc, Decompress, FlushDecompress, Status, bufread::MultiGzDecoder};

use super::{HEADER, HEADER_LENGTH, LONGEST_MEMBER, Pool, TRAILER_LENGTH, write::thread};
use crate::{Error, Progress};

type Answer = Result<Vec<u8>, Error>;

/// What was compressed, block by block.
pub(crate) struct Decompressor {
    ordered: Option<Receiver<Receiver<Answer>>>,
    pool: Pool,
    threads: Vec<JoinHandle<()>>,
}

struct Job {
    member: Vec<u8>,
    answer: SyncSender<Answer>,
}

impl Decompressor {
    pub(crate) fn new(input: File, threads: usize, progress: Progress) -> io::Result<Self> {
        let count = threads.clamp(1, 16);
        let pool = Pool::default();
        let (jobs, queue) = sync_channel(count);
        let (ordered, answers) = sync_channel(2 * count);
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::new();
        for _ in 0..count {
            let (queue, pool) = (queue.clone(), pool.clone());
            threads.push(thread("archive-inflate", move || work(&queue, &pool))?);
        }
        let cutter = Cutter {
            input: Input {
                file: input,
                progress,
            },
            jobs,
            ordered,
            pool: pool.clone(),
        };
        threads.push(thread("archive-read", move || cutter.run())?);
        Ok(Self {
            ordered: Some(answers),
            pool,
            threads,
        })
    }

    /// The next block in place of the last one; None at the end of the file.
    pub(crate) fn next(&mut self, last: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
        self.pool.give(last);
        let Some(Ok(answer)) = self.ordered.as_ref().map(Receiver::recv) else {
            return Ok(None);
        };
        match answer.recv() {
            Ok(block) => block.map(Some),
            Err(_) => Err(Error::io(
                "decompressing",
                io::Error::other("a thread panicked"),
            )),
        }
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        self.ordered = None;
        for thread in self.threads.drain(..) {
            // A panic was told as an error by `next` already.
            let _ = thread.join();
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, pool: &Pool) {
    let mut inflate = Decompress::new(false);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { member, answer }) = job else {
            return;
        };
        let block = block(&mut inflate, &member, pool.take());
        pool.give(member);
        // The reader may have gone on an error; the queue ends then.
        let _ = answer.send(block);
    }
}

/// What is in one whole member.
fn block(inflate: &mut Decompress, member: &[u8], mut out: Vec<u8>) -> Answer {
    let wrong = || Error::damaged("compressed data is not as it was written");
    let body = &member[HEADER_LENGTH..member.len() - TRAILER_LENGTH];
    let trailer = &member[member.len() - TRAILER_LENGTH..];
    out.clear();
    out.reserve(LONGEST_MEMBER);
    inflate.reset(false);
    let status = inflate.decompress_vec(body, &mut out, FlushDecompress::Finish);
    if !matches!(status, Ok(Status::StreamEnd)) || inflate.total_in() != body.len() as u64 {
        return Err(wrong());
    }
    let mut crc = Crc::new();
    crc.update(&out);
    if crc.sum().to_le_bytes() != trailer[..4] || crc.amount().to_le_bytes() != trailer[4..] {
        return Err(wrong());
    }
    Ok(out)
}

struct Cutter {
    input: Input,
    jobs: SyncSender<Job>,
    ordered: SyncSender<Receiver<Answer>>,
    pool: Pool,
}

impl Cutter {
    fn run(mut self) {
        let ended = self.members();
        if let Err(error) = ended {
            self.answer(Err(error));
        }
    }

    /// False: nobody wants it any more.
    fn answer(&self, answer: Answer) -> bool {
        let (sender, receiver) = sync_channel(1);
        let _ = sender.send(answer);
        self.ordered.send(receiver).is_ok()
    }

    fn members(&mut self) -> Result<(), Error> {
        let mut ours = false;
        loop {
            let mut head = [0; HEADER_LENGTH];
            let read = self.input.fill(&mut head)?;
            if read == 0 {
                return Ok(());
            }
            let length = head
                .strip_prefix(&HEADER)
                .and_then(|rest| rest.try_into().ok())
                .map_or(0, u32::from_le_bytes) as usize;
            if length <= HEADER_LENGTH + TRAILER_LENGTH {
                if ours {
                    let what = "after a compressed block comes something else";
                    return Err(Error::damaged(what));
                }
                return self.foreign(head[..read].to_vec());
            }
            ours = true;
            if length > LONGEST_MEMBER {
                return Err(Error::damaged(
                    "a compressed block is longer than any of ours",
                ));
            }
            let mut member = self.pool.take();
            member.extend_from_slice(&head);
            member.resize(length, 0);
            if self.input.fill(&mut member[HEADER_LENGTH..])? < length - HEADER_LENGTH {
                return Err(Error::damaged("it ends in the middle"));
            }
            let (answer, answered) = sync_channel(1);
            if self.ordered.send(answered).is_err()
                || self.jobs.send(Job { member, answer }).is_err()
            {
                return Ok(());
            }
        }
    }

    /// What another program compressed, on this thread.
    fn foreign(&mut self, head: Vec<u8>) -> Result<(), Error> {
        if !head.starts_with(&[0x1f, 0x8b]) {
            return Err(Error::WrongFormat("it is not compressed with gzip".into()));
        }
        let progress = self.input.progress.clone();
        let input = io::BufReader::with_capacity(256 * 1024, &mut self.input);
        let mut decoder = MultiGzDecoder::new(io::Cursor::new(head).chain(input));
        let (pool, ordered) = (&self.pool, &self.ordered);
        loop {
            progress.go_on()?;
            let mut block = pool.take();
            let limit = LONGEST_MEMBER as u64;
            let read = decoder.by_ref().take(limit).read_to_end(&mut block);
            let answer = match read {
                Ok(0) => return Ok(()),
                Ok(_) => Ok(block),
                Err(error) => Err(unreadable(error)),
            };
            let failed = answer.is_err();
            let (sender, receiver) = sync_channel(1);
            let _ = sender.send(answer);
            if ordered.send(receiver).is_err() || failed {
                return Ok(());
            }
        }
    }
}

fn unreadable(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::damaged("it ends in the middle"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Error::damaged(format!("it cannot be decompressed ({error})"))
        }
        _ => Error::io("reading the archive", error),
    }
}

struct Input {
    file: File,
    progress: Progress,
}

impl Input {
    /// As much as there is.
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.progress.go_on()?;
        let mut filled = 0;
        while filled < into.len() {
            match self.read(&mut into[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("reading the archive", error)),
            }
        }
        Ok(filled)
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.progress.done(count as u64);
        Ok(count)
    }
}
