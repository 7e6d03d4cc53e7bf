//! The exchange of an instance's data by renames. Each half can be done again
//! after it was cut short at any point, and ends the same.
use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use openflow_archive::remove_tree;

use super::Entries;
use crate::{
    instances::DataFolders,
    kernel::{InstanceId, RestoreId},
};

const PREFIX: &str = ".restore-";

/// The folder of one restore, beside the data folders:
///
/// ```text
/// .restore-<id>/new/        what is put in
/// .restore-<id>/old/        what was there, from the moment of the exchange
/// .restore-<id>/absent/     names of what was not there
/// .restore-<id>/rejected/   what was put in and taken out again
/// ```
#[derive(Clone, Debug)]
pub(in crate::instances) struct Swap {
    folder: PathBuf,
    live: PathBuf,
}

/// One thing that is exchanged. All paths are in folders that only we, or the
/// stopped tenant, could write to; a rename follows no link.
struct Pair {
    live: PathBuf,
    new: PathBuf,
    old: PathBuf,
    absent: PathBuf,
    rejected: PathBuf,
}

impl Swap {
    pub(in crate::instances) fn new(
        folders: &DataFolders,
        restore: RestoreId,
        instance: InstanceId,
    ) -> Self {
        let live = folders.path(instance);
        Self {
            folder: live.with_file_name(format!("{PREFIX}{restore}")),
            live,
        }
    }

    /// Where the files are put before the exchange. For a whole folder it is
    /// made by whoever stages it.
    pub(in crate::instances) fn staging(&self) -> PathBuf {
        self.folder.join("new")
    }

    pub(super) fn make(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
    }

    /// Puts in what is staged. The container does not run.
    pub(in crate::instances) fn put_in(&self, entries: &Entries) -> io::Result<()> {
        let begun = is_there(&self.folder.join("old"))? || is_there(&self.folder.join("absent"))?;
        if !begun && !is_there(&self.staging())? {
            return Err(io::Error::other("what was put beside is gone"));
        }
        if matches!(entries, Entries::Files(_)) {
            for part in ["new", "old", "absent", "rejected"] {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(self.folder.join(part))?;
            }
        }
        for pair in self.pairs(entries)? {
            if !is_there(&pair.old)? && !is_there(&pair.absent)? {
                if is_there(&pair.live)? {
                    fs::rename(&pair.live, &pair.old)?;
                } else {
                    File::create(&pair.absent)?;
                }
            }
            if is_there(&pair.new)? {
                fs::rename(&pair.new, &pair.live)?;
            }
        }
        self.sync()
    }

    /// Takes it out again and puts back what was there. The container does not
    /// run.
    pub(in crate::instances) fn put_back(&self, entries: &Entries) -> io::Result<()> {
        for pair in self.pairs(entries)? {
            let had = is_there(&pair.old)?;
            if !had && !is_there(&pair.absent)? {
                continue; // done already
            }
            if is_there(&pair.live)? {
                remove_tree(&pair.rejected)?;
                fs::rename(&pair.live, &pair.rejected)?;
            }
            if had {
                fs::rename(&pair.old, &pair.live)?;
            } else {
                fs::remove_file(&pair.absent)?;
            }
        }
        self.sync()
    }

    /// Removes what is left of it.
    pub(in crate::instances) fn remove(&self) -> io::Result<()> {
        remove_tree(&self.folder)
    }

    fn pairs(&self, entries: &Entries) -> io::Result<Vec<Pair>> {
        let inside = |part: &str| self.folder.join(part);
        match entries {
            Entries::Whole => Ok(vec![Pair {
                live: self.live.clone(),
                new: inside("new"),
                old: inside("old"),
                absent: inside("absent"),
                rejected: inside("rejected"),
            }]),
            Entries::Handed => Ok(Vec::new()),
            Entries::Files(names) => names
                .iter()
                .map(|name| {
                    plain(name)?;
                    Ok(Pair {
                        live: self.live.join(name),
                        new: inside("new").join(name),
                        old: inside("old").join(name),
                        absent: inside("absent").join(name),
                        rejected: inside("rejected").join(name),
                    })
                })
                .collect(),
        }
    }

    /// So that the renames outlive a power cut.
    fn sync(&self) -> io::Result<()> {
        let parent = self.folder.parent().unwrap_or(&self.folder);
        for folder in [parent, &self.folder, &self.live] {
            match File::open(folder) {
                Ok(it) => it.sync_all()?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The restores whose folders lie in `root`.
pub(super) fn left_in(root: &Path) -> io::Result<Vec<(RestoreId, PathBuf)>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| {
            let id = name.strip_prefix(PREFIX)?;
            id.parse::<RestoreId>().ok()
        });
        found.extend(id.map(|id| (id, entry.path())));
    }
    Ok(found)
}

fn is_there(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// One name in the folder, nothing that leads elsewhere.
fn plain(name: &str) -> io::Result<()> {
    let bad = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
    if bad {
        return Err(io::Error::other(format!("{name:?} is not a plain name")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Bench {
        root: tempfile::TempDir,
        swap: Swap,
    }

    impl Bench {
        fn new(live: &[(&str, &str)], new: &[(&str, &str)]) -> Self {
            let root = tempfile::tempdir().unwrap();
            let folders = DataFolders::new(root.path());
            let (restore, instance) = (RestoreId::new(), InstanceId::new());
            let swap = Swap::new(&folders, restore, instance);
            swap.make().unwrap();
            fs::create_dir_all(&swap.live).unwrap();
            fs::create_dir_all(swap.staging()).unwrap();
            for (folder, files) in [(&swap.live, live), (&swap.staging(), new)] {
                for (name, content) in files {
                    fs::write(folder.join(name), content).unwrap();
                }
            }
            Self { root, swap }
        }

        fn live(&self) -> BTreeMap<String, String> {
            let files = fs::read_dir(&self.swap.live).unwrap();
            files
                .map(|file| {
                    let file = file.unwrap();
                    let name = file.file_name().into_string().unwrap();
                    (name, fs::read_to_string(file.path()).unwrap())
                })
                .collect()
        }
    }

    fn files(names: &[&str]) -> Entries {
        Entries::Files(names.iter().map(|&it| it.to_owned()).collect())
    }

    fn map(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        files.iter().map(owned).collect()
    }

    #[test]
    fn files_come_and_go_both_ways_however_often() {
        let before = [("a", "1"), ("gone", "2"), ("other", "3")];
        let bench = Bench::new(&before, &[("a", "9"), ("b", "8")]);
        let entries = files(&["a", "b", "gone"]);
        for _ in 0..2 {
            bench.swap.put_in(&entries).unwrap();
            let after = [("a", "9"), ("b", "8"), ("other", "3")];
            assert_eq!(bench.live(), map(&after));
        }
        for _ in 0..2 {
            bench.swap.put_back(&entries).unwrap();
            assert_eq!(bench.live(), map(&before));
        }
    }

    #[test]
    fn a_whole_folder_too() {
        let (before, after) = ([("a", "1"), ("b", "2")], [("a", "9")]);
        let bench = Bench::new(&before, &after);
        for _ in 0..2 {
            bench.swap.put_in(&Entries::Whole).unwrap();
            assert_eq!(bench.live(), map(&after));
        }
        for _ in 0..2 {
            bench.swap.put_back(&Entries::Whole).unwrap();
            assert_eq!(bench.live(), map(&before));
        }
        bench.swap.remove().unwrap();
        assert!(
            left_in(&bench.root.path().join("instances"))
                .unwrap()
                .is_empty()
        );
    }

    /// Killed between the two renames of an exchange.
    #[test]
    fn half_an_exchange_is_finished_or_undone() {
        for finish in [true, false] {
            let bench = Bench::new(&[("a", "1")], &[("a", "9")]);
            let entries = files(&["a"]);
            let old = bench.swap.folder.join("old/a");
            for part in ["old", "absent", "rejected"] {
                fs::create_dir(bench.swap.folder.join(part)).unwrap();
            }
            fs::rename(bench.swap.live.join("a"), old).unwrap();
            if finish {
                bench.swap.put_in(&entries).unwrap();
                assert_eq!(bench.live(), map(&[("a", "9")]));
            } else {
                bench.swap.put_back(&entries).unwrap();
                assert_eq!(bench.live(), map(&[("a", "1")]));
            }
        }
    }

    #[test]
    fn a_tenants_link_is_moved_not_followed() {
        let bench = Bench::new(&[], &[("a", "9")]);
        let outside = bench.root.path().join("outside");
        fs::write(&outside, "theirs").unwrap();
        std::os::unix::fs::symlink(&outside, bench.swap.live.join("a")).unwrap();
        bench.swap.put_in(&files(&["a"])).unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "theirs");
        assert_eq!(bench.live(), map(&[("a", "9")]));
    }

    #[test]
    fn nothing_is_exchanged_for_what_is_gone() {
        for entries in [files(&["a"]), Entries::Whole] {
            let bench = Bench::new(&[("a", "1")], &[]);
            fs::remove_dir(bench.swap.staging()).unwrap();
            assert!(bench.swap.put_in(&entries).is_err());
            bench.swap.put_back(&entries).unwrap();
            assert_eq!(bench.live(), map(&[("a", "1")]));
        }
    }

    #[test]
    fn only_plain_names_are_exchanged() {
        let bench = Bench::new(&[], &[]);
        for name in ["", ".", "..", "a/b", "../x"] {
            assert!(bench.swap.put_in(&files(&[name])).is_err(), "{name}");
        }
    }
}
