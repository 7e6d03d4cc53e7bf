use openflow_archive::Folder;
use serde_json::Value;

use super::files::unreadable;
use crate::engines::{Installed, ReadError};

const PACKAGE_BYTES_MAX: u64 = 1 << 20;
/// More are left out: nobody installs so many.
const MODULES_MAX: usize = 200;

/// The modules that the palette manager installed, by name.
pub(super) fn read(folder: &Folder) -> Result<Vec<Installed>, ReadError> {
    let Some(package) = folder
        .read("package.json", PACKAGE_BYTES_MAX)
        .map_err(|error| unreadable("package.json", error))?
    else {
        return Ok(Vec::new());
    };
    let package: Value = serde_json::from_slice(&package)
        .map_err(|_| ReadError::Unreadable("package.json is not JSON".to_owned()))?;
    let named = package["dependencies"].as_object();
    let mut modules: Vec<Installed> = named
        .into_iter()
        .flatten()
        .filter_map(|(name, range)| module(folder, name, range.as_str().unwrap_or_default()))
        .take(MODULES_MAX)
        .collect();
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(modules)
}

/// `None` for a name that is not one of npm's.
fn module(folder: &Folder, name: &str, range: &str) -> Option<Installed> {
    let mut module = Installed {
        name: name.to_owned(),
        version: String::new(),
        // Also `npm:other@1`, which is another module below this name.
        local: range.contains([':', '/']),
    };
    if !module.wanted().is_plain() {
        return None;
    }
    let path = format!("node_modules/{name}/package.json");
    // A module that cannot be read is as one that is not installed.
    let package = folder.read(&path, PACKAGE_BYTES_MAX).ok().flatten();
    let package: Value = serde_json::from_slice(&package.unwrap_or_default()).unwrap_or_default();
    module.version = package["version"].as_str().unwrap_or_default().to_owned();
    if !module.wanted().is_plain() {
        module.version.clear();
    }
    Some(module)
}
