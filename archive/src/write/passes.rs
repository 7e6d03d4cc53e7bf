//! Pass after pass until the archive holds what the folder is.
use std::{collections::HashMap, time::Duration};

use super::{
    Freezer, WriteOptions,
    freeze::{Attempt, attempt},
    judge::TICK,
    pack::{Packer, Source},
};
use crate::{
    Error, Folder, Progress,
    scan::{Item, Skips, Sort, Taken, carry, scan},
};

/// Less than this is left for the freeze.
const FEW_BYTES: u64 = 32 << 20;
const FEW_FILES: usize = 2000;
const MOST_PASSES: u32 = 3;
const MOST_FREEZES: u32 = 2;
pub(super) struct Passes<'a, 'p> {
    pub(super) folder: &'a Folder,
    pub(super) options: &'a WriteOptions,
    pub(super) packer: &'p mut Packer<'a>,
    pub(super) progress: &'a Progress,
}

pub(super) struct Done {
    pub(super) items: Vec<Item>,
    pub(super) skips: Skips,
    pub(super) frozen: Option<Duration>,
    pub(super) freeze_error: Option<String>,
    pub(super) consistent: bool,
}

/// What has to be done for one item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) item: usize,
    /// It is a hard link to that item.
    pub(super) first: Option<usize>,
}

/// The items that the archive does not hold as they are, in order. Of a file with several names the first stands for its
/// content; when it is taken again, the others have to be linked to it again.
pub(super) fn plan(items: &[Item]) -> Vec<Step> {
    let mut firsts: HashMap<u64, (usize, bool)> = HashMap::new();
    let mut steps = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let first = firsts.get(&item.stamp.ino).filter(|_| item.linked);
        let (first, fine) = match first {
            Some((first, again)) => {
                let target = &items[*first].path;
                let right = matches!(&item.taken, Some(Taken::HardLink(it)) if it == target);
                (Some(*first), right && !again)
            }
            None => (None, !matches!(item.taken, Some(Taken::HardLink(_)))),
        };
        let fine = fine && item.current;
        let skipped = matches!(item.taken, Some(Taken::Skipped(_)));
        if item.linked && first.is_none() && !(skipped && fine) {
            firsts.insert(item.stamp.ino, (index, !fine));
        }
        if !fine {
            steps.push(Step { item: index, first });
        }
    }
    steps
}

/// How much there is to read.
pub(super) fn bytes(items: &[Item], steps: &[Step]) -> u64 {
    let files = steps.iter().filter(|step| step.first.is_none());
    let files = files.map(|step| &items[step.item]);
    files
        .filter(|item| item.sort == Sort::File)
        .map(|item| item.stamp.size.min(item.disk_bytes.max(4096)))
        .sum()
}

impl<'a, 'p> Passes<'a, 'p> {
    pub(super) fn new(
        folder: &'a Folder,
        options: &'a WriteOptions,
        packer: &'p mut Packer<'a>,
        progress: &'a Progress,
    ) -> Self {
        Self {
            folder,
            options,
            packer,
            progress,
        }
    }

    pub(super) fn run(mut self, freezer: Option<&mut dyn Freezer>) -> Result<Done, Error> {
        let mut done = Done {
            items: Vec::new(),
            skips: Skips::default(),
            frozen: None,
            freeze_error: None,
            consistent: false,
        };
        if freezer.is_none() {
            // What was written just before can be trusted then, and stands in the archive once.
            std::thread::sleep(TICK);
        }
        self.pass(&mut done, freezer.is_some())?;
        if let Some(freezer) = freezer {
            self.frozen(&mut done, freezer)?;
        }
        for _ in 0..MOST_PASSES {
            if done.consistent {
                break;
            }
            if done.items.iter().any(|item| !item.current) {
                // Files that were written to just now can be trusted from then on.
                std::thread::sleep(TICK);
            }
            // As it was read before, so it still is: then it was so all the while in between.
            done.consistent = self.pass(&mut done, false)? == 0;
        }
        Ok(done)
    }

    /// Reads what changed since the last time; says how many items that were.
    fn pass(&mut self, done: &mut Done, defer: bool) -> Result<usize, Error> {
        self.rescan(done)?;
        let steps = plan(&done.items);
        self.progress.expect(bytes(&done.items, &steps));
        self.packer
            .pass(&mut done.items, &steps, &Source::Live { defer })?;
        Ok(steps.len())
    }

    fn rescan(&self, done: &mut Done) -> Result<(), Error> {
        done.skips = Skips::default();
        let mut go_on = || self.progress.go_on();
        let expected = (self.options.exclude.as_slice(), done.items.len());
        let mut items = scan(self.folder, expected, &mut done.skips, &mut go_on)?;
        carry(std::mem::take(&mut done.items), &mut items);
        done.items = items;
        Ok(())
    }

    fn frozen(&mut self, done: &mut Done, freezer: &mut dyn Freezer) -> Result<(), Error> {
        for freeze in 0..MOST_FREEZES {
            // A second freeze comes after one more pass, whatever its size.
            let mut passes = MOST_PASSES - 1;
            if freeze > 0 {
                self.pass(done, true)?;
                passes = 0;
            }
            for _ in 0..passes {
                self.rescan(done)?;
                if is_little(&done.items) {
                    break;
                }
                self.pass(done, true)?;
            }
            match attempt(self, done, freezer)? {
                Attempt::Copied(spool, whole) => {
                    let steps = plan(&done.items);
                    self.progress.expect(bytes(&done.items, &steps));
                    let source = Source::Spool(&spool);
                    self.packer.pass(&mut done.items, &steps, &source)?;
                    done.consistent = whole;
                    return Ok(());
                }
                Attempt::TooLong => {
                    done.freeze_error = Some(format!(
                        "what had to be copied took longer than {} s",
                        self.options.freeze_limit.as_secs_f32()
                    ));
                }
                Attempt::Failed(error) => {
                    done.freeze_error = Some(error.to_string());
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn is_little(items: &[Item]) -> bool {
    let mut steps = plan(items);
    // SQLite's files wait for the freeze anyway.
    steps.retain(|step| !items[step.item].sqlite);
    bytes(items, &steps) <= FEW_BYTES && steps.len() <= FEW_FILES
}
