//! What was read against what the manifest says.
use std::collections::HashSet;

use super::scan::{Meta, ROOT, Tree};
use crate::{Entry, Error, Kind, Manifest, manifest::VERSION};

/// Marks what is listed; gives the paths of what is not, ascending.
pub(super) fn compare(tree: &mut Tree, manifest: &Manifest) -> Result<Vec<String>, Error> {
    if manifest.version != VERSION {
        let what = format!("its manifest has version {}", manifest.version);
        return Err(Error::WrongFormat(what));
    }
    let (mut files, mut bytes) = (0, 0);
    let mut inodes = HashSet::new();
    for entry in &manifest.entries {
        one(tree, entry)?;
        match entry.kind {
            Kind::File { size, .. } => {
                (files, bytes) = (files + 1, size.saturating_add(bytes));
                let inode = tree.get(&entry.path).map(|node| node.made_by);
                if !inodes.insert(inode) {
                    let what = format!(
                        "'{}' is listed as a file of its own, not linked",
                        entry.path
                    );
                    return Err(Error::damaged(what));
                }
            }
            Kind::HardLink { .. } => files += 1,
            Kind::Folder | Kind::Symlink { .. } => {}
        }
    }
    if !tree.get(ROOT).is_some_and(|root| root.listed) {
        return Err(Error::damaged(
            "its manifest does not list the folder itself",
        ));
    }
    if (files, bytes) != (manifest.files, manifest.bytes) {
        return Err(Error::damaged("its manifest's sums are wrong"));
    }
    let extra = tree.iter().filter(|(_, node)| !node.listed);
    Ok(extra.map(|(path, _)| path.clone()).collect())
}

fn one(tree: &mut Tree, entry: &Entry) -> Result<(), Error> {
    let path = &entry.path;
    let differs = |what: &str| Error::damaged(format!("{what} of '{path}' is not as listed"));
    let above = path.rsplit_once('/').map_or(ROOT, |(above, _)| above);
    if path != ROOT && !tree.get(above).is_some_and(|node| node.listed) {
        let what = format!("its manifest lists '{path}' without its folder before it");
        return Err(Error::damaged(what));
    }
    content(tree, entry)?;
    let missing = || Error::damaged(format!("'{path}' is missing"));
    let node = tree.get_mut(path).ok_or_else(missing)?;
    if std::mem::replace(&mut node.listed, true) {
        return Err(Error::damaged(format!("'{path}' is listed twice")));
    }
    let Meta {
        mode,
        uid,
        gid,
        mtime,
    } = &mut node.meta;
    if *mode != entry.mode {
        return Err(differs("the mode"));
    }
    if (*uid, *gid) != (entry.uid, entry.gid) {
        return Err(differs("the owner"));
    }
    // A link has none, and its file's were compared.
    let own = matches!(entry.kind, Kind::File { .. } | Kind::Folder);
    if own && node.digest.as_deref() != entry.attributes.as_ref() {
        return Err(differs("what is listed of the extended attributes"));
    }
    // Other programs' archives may have whole seconds.
    if mtime.seconds != entry.mtime.seconds || (mtime.nanos != 0 && *mtime != entry.mtime) {
        return Err(differs("the time"));
    }
    Ok(())
}

/// Which of a file's names is the file and which are hard links to it is a matter of order; the manifest's first name may
/// be another one than the tar's.
fn content(tree: &Tree, entry: &Entry) -> Result<(), Error> {
    let path = &entry.path;
    let differs = |what: &str| {
        Err(Error::damaged(format!(
            "{what} of '{path}' is not as listed"
        )))
    };
    let Some(node) = tree.get(path) else {
        return Err(Error::damaged(format!("'{path}' is missing")));
    };
    let kind = match &node.kind {
        // A later entry may have replaced what it was linked to.
        Kind::HardLink { target } => match tree.get(target) {
            Some(file) if file.made_by == node.made_by => &file.kind,
            _ => {
                let what = format!("'{path}' is a hard link to a file that is not there any more");
                return Err(Error::damaged(what));
            }
        },
        kind => kind,
    };
    match (kind, &entry.kind) {
        (one, other) if one == other => Ok(()),
        (Kind::File { .. }, Kind::HardLink { target }) => match tree.get(target) {
            Some(file) if file.listed && file.made_by == node.made_by => Ok(()),
            _ => differs("the target"),
        },
        (Kind::File { size, .. }, Kind::File { size: listed, .. }) if size != listed => {
            differs("the size")
        }
        (Kind::File { .. }, Kind::File { .. }) => differs("the content"),
        (Kind::Symlink { .. }, Kind::Symlink { .. }) => differs("the target"),
        _ => differs("the type"),
    }
}
