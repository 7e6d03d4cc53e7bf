//! What was read against what the manifest says.
use super::scan::{Meta, ROOT, Tree};
use crate::{Entry, Error, Kind, Manifest, manifest::VERSION};

/// Marks what is listed; gives the paths of what is not, ascending.
pub(super) fn compare(tree: &mut Tree, manifest: &Manifest) -> Result<Vec<String>, Error> {
    if manifest.version != VERSION {
        let what = format!("its manifest has version {}", manifest.version);
        return Err(Error::WrongFormat(what));
    }
    let (mut files, mut bytes) = (0, 0);
    for entry in &manifest.entries {
        one(tree, entry)?;
        match entry.kind {
            Kind::File { size, .. } => (files, bytes) = (files + 1, size.saturating_add(bytes)),
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
    hard_links(tree)?;
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
    let node = tree
        .get_mut(path)
        .ok_or_else(|| Error::damaged(format!("'{path}' is missing")))?;
    if std::mem::replace(&mut node.listed, true) {
        return Err(Error::damaged(format!("'{path}' is listed twice")));
    }
    match (&node.kind, &entry.kind) {
        (one, other) if one == other => {}
        (Kind::File { size, .. }, Kind::File { size: listed, .. }) if size != listed => {
            return Err(differs("the size"));
        }
        (Kind::File { .. }, Kind::File { .. }) => return Err(differs("the content")),
        (Kind::Symlink { .. }, Kind::Symlink { .. })
        | (Kind::HardLink { .. }, Kind::HardLink { .. }) => return Err(differs("the target")),
        _ => return Err(differs("the type")),
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
    // Other programs' archives may have whole seconds.
    if mtime.seconds != entry.mtime.seconds || (mtime.nanos != 0 && *mtime != entry.mtime) {
        return Err(differs("the time"));
    }
    Ok(())
}

/// A hard link is to the very file that the manifest lists, not to one that a later entry replaced.
fn hard_links(tree: &Tree) -> Result<(), Error> {
    for (path, node) in tree.iter().filter(|(_, node)| node.listed) {
        let Kind::HardLink { target } = &node.kind else {
            continue;
        };
        let same = tree.get(target).is_some_and(|file| {
            file.listed && file.made_by == node.made_by && matches!(file.kind, Kind::File { .. })
        });
        if !same {
            let what = format!("'{path}' is a hard link to a file that is not there any more");
            return Err(Error::damaged(what));
        }
    }
    Ok(())
}
