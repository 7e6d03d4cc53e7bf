//! The dashboard is embedded from `dashboard/dist`. Without one (a fresh clone,
//! `cargo check`) a page that says how to build it stands in.
use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=../migrations");
    let dist = Path::new("dashboard/dist");
    if !dist.join("index.html").exists() {
        fs::create_dir_all(dist)?;
        fs::write(
            dist.join("index.html"),
            "<!doctype html><meta charset=utf-8><title>Openflow</title>\
             <p>The dashboard was not built into this program. Run <code>make dashboard</code>, then build again.</p>",
        )?;
    }
    Ok(())
}
