//! The freeze: as short as can be, and always ended.
use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    Freezer,
    judge::{is_quiet, sqlite_base},
    pack::Packer,
    passes::{Done, Passes, plan},
    spool::Spool,
};
use crate::{
    Error,
    error::During,
    scan::{Item, Skips, Sort, carry, scan},
};

pub(super) enum Attempt {
    /// The copy, and whether nothing was seen to change meanwhile.
    Copied(Spool, bool),
    TooLong,
    Failed(io::Error),
}

/// Ends the freeze when it goes out of scope, in a panic too.
struct Frozen<'f> {
    freezer: &'f mut dyn Freezer,
    since: Instant,
    thawed: bool,
}

impl Frozen<'_> {
    fn thaw(mut self) -> Result<Duration, Error> {
        self.freezer.thaw().map_err(Error::Thaw)?;
        self.thawed = true;
        Ok(self.since.elapsed())
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if !self.thawed {
            // Another error is on its way to the caller.
            let _ = self.freezer.thaw();
        }
    }
}

/// Freezes, copies what changed, thaws.
pub(super) fn attempt(
    passes: &Passes<'_, '_>,
    done: &mut Done,
    freezer: &mut dyn Freezer,
) -> Result<Attempt, Error> {
    let mut spool = Spool::new(&passes.options.spool)
        .during(|| format!("making a file in {}", passes.options.spool.display()))?;
    let frozen = Frozen {
        freezer,
        since: Instant::now(),
        thawed: false,
    };
    if let Err(error) = frozen.freezer.freeze() {
        return Ok(Attempt::Failed(error));
    }
    let mut late = false;
    let begun = frozen.since;
    let mut go_on = || {
        passes.progress.go_on()?;
        late = begun.elapsed() > passes.options.freeze_limit;
        // The flag tells it from a real one.
        if late { Err(Error::Cancelled) } else { Ok(()) }
    };
    let copied = copy(passes, done, &mut spool, &mut go_on);
    let lasted = frozen.thaw()?;
    done.frozen = Some(done.frozen.unwrap_or_default() + lasted);
    match copied {
        Ok(whole) => Ok(Attempt::Copied(spool, whole)),
        Err(Error::Cancelled) if late => Ok(Attempt::TooLong),
        Err(error) => Err(error),
    }
}

fn copy(
    passes: &Passes<'_, '_>,
    done: &mut Done,
    spool: &mut Spool,
    go_on: &mut dyn FnMut() -> Result<(), Error>,
) -> Result<bool, Error> {
    let mut skips = Skips::default();
    let expected = (passes.options.exclude.as_slice(), done.items.len());
    let mut items = scan(passes.folder, expected, &mut skips, go_on)?;
    carry(std::mem::take(&mut done.items), &mut items);
    (done.items, done.skips) = (items, skips);
    distrust_sqlite(&mut done.items, passes.packer);
    let mut whole = true;
    for step in plan(&done.items) {
        let item = &mut done.items[step.item];
        match item.sort {
            Sort::Symlink => {
                item.taken = passes.packer.target(item)?;
            }
            Sort::File if step.first.is_none() => {
                whole &= spool.copy(passes.folder, step.item, item, go_on)?;
            }
            Sort::Folder => spool.attributes(passes.folder, step.item, &item.path),
            Sort::File => {}
        }
    }
    Ok(whole)
}

/// SQLite maps files into memory, so the stamps of those in use say little.
fn distrust_sqlite(items: &mut [Item], packer: &Packer<'_>) {
    for item in items {
        let base = sqlite_base(&item.path).is_some_and(|base| packer.is_database(base));
        if (item.sqlite || base) && !is_quiet(&item.stamp) {
            item.current = false;
        }
    }
}
