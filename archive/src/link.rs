//! Which symbolic links stay inside.

/// Why a link at `path` (relative to the folder) may not point to `target`; None: it may.
///
/// After its leading `..`, which are counted against the real folders above the link, a target may hold names only. So a
/// chain of such links cannot leave the folder either: each link in it begins at a real folder, and goes only down from
/// where its own `..` ended.
pub(crate) fn leads_out(path: &str, target: &str) -> Option<&'static str> {
    if target.is_empty() || target.len() > 4095 {
        return Some("the link's target is empty or too long");
    }
    if target.starts_with('/') {
        return Some("the link's target is absolute");
    }
    let mut up = 0;
    let mut named = false;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if named => return Some("the link's target goes up after going down"),
            ".." => up += 1,
            _ => named = true,
        }
    }
    (up > path.matches('/').count()).then_some("the link leads out of the folder")
}

#[cfg(test)]
mod tests {
    use super::leads_out;

    #[test]
    fn links_stay_inside() {
        for (path, target, fine) in [
            ("a", "b", true),
            ("a", "./b//c", true),
            ("a", ".", true),
            ("d/a", "../b", true),
            ("d/a", "..", true),
            ("d/e/a", "../../b/c", true),
            ("a", "..", false),
            ("a", "../b", false),
            ("d/a", "../../b", false),
            ("d/a", ".././../b", false),
            ("d/a", "b/..", false),
            ("d/a", "b/../../../c", false),
            ("a", "/etc/passwd", false),
            ("a", "", false),
        ] {
            assert_eq!(
                leads_out(path, target).is_none(),
                fine,
                "{path} -> {target}"
            );
        }
    }
}
