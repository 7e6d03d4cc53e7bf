use std::path::Path;

use nix::unistd::{Uid, User};

use super::ClusterError;

/// The operating system's users in play.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// Owns the files and runs the server.
    pub uid: u32,
    pub gid: u32,
    /// Our own name, by which the server knows us as a client (`peer`).
    pub own_name: String,
    /// Whether this process is root and changes to `uid` for the server.
    pub is_other: bool,
}

const USUAL_NAMES: [&str; 2] = ["postgres", "nobody"];

impl Owner {
    /// Who runs the server: ourselves; when we are root, who owns the existing
    /// cluster, else the named user, else `postgres`, else `nobody`.
    pub(super) fn decide(
        existing: Option<(u32, u32)>,
        named: Option<&str>,
        folder: &Path,
    ) -> Result<Self, ClusterError> {
        let own = Uid::effective();
        let own_name = name_of(own)?;
        let (uid, gid) = if own.is_root() {
            match existing {
                Some((uid, gid)) if uid != 0 => (uid, gid),
                _ => account(named)?,
            }
        } else {
            match existing {
                Some((uid, _)) if uid != own.as_raw() => {
                    let owner = name_of(Uid::from_raw(uid)).unwrap_or_else(|_| uid.to_string());
                    return Err(ClusterError::OtherOwner {
                        folder: folder.to_owned(),
                        owner,
                        own: own_name,
                    });
                }
                _ => (own.as_raw(), nix::unistd::Gid::effective().as_raw()),
            }
        };
        // The server looks its own name up, too.
        name_of(Uid::from_raw(uid))?;
        Ok(Self {
            uid,
            gid,
            own_name,
            is_other: own.is_root(),
        })
    }
}

fn account(named: Option<&str>) -> Result<(u32, u32), ClusterError> {
    let names = match named {
        Some(name) => vec![name],
        None => USUAL_NAMES.to_vec(),
    };
    for name in &names {
        if let Ok(Some(user)) = User::from_name(name)
            && !user.uid.is_root()
        {
            if *name == "nobody" {
                tracing::warn!(
                    "PostgreSQL runs as user nobody, which other services may share. \
                     Name a user of its own with OPENFLOW_PG_USER."
                );
            }
            return Ok((user.uid.as_raw(), user.gid.as_raw()));
        }
    }
    Err(ClusterError::NoUser(
        names.first().copied().unwrap_or_default().to_owned(),
    ))
}

fn name_of(uid: Uid) -> Result<String, ClusterError> {
    match User::from_uid(uid) {
        Ok(Some(user)) => Ok(user.name),
        Ok(None) | Err(_) => Err(ClusterError::NamelessUser(uid.as_raw())),
    }
}
