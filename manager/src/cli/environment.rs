//! Misspelt variables: `OPENFLOW_DOMIAN` would otherwise do nothing, silently.
use std::env;

/// Variables that start like a setting and are none of ours, but not wrong:
/// those of `openflow-proxy` and of the scripts.
const OTHERS: [&str; 4] = [
    "OPENFLOW_PROXY_",
    "OPENFLOW_ROUTES_FILE",
    "OPENFLOW_MANAGER_URL",
    "OPENFLOW_TEST_",
];

pub(super) fn warn_of_unknown() {
    let command = super::command();
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(|it| it.get_env()?.to_str())
        .collect();
    for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if is_unknown(&name, &known) {
            tracing::warn!("{name} is no setting of Openflow and has no effect; see openflow help");
        }
    }
}

fn is_unknown(name: &str, known: &[&str]) -> bool {
    name.starts_with("OPENFLOW_")
        && !known.contains(&name)
        && !OTHERS.iter().any(|it| name.starts_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_setting_is_unknown() {
        let known = ["OPENFLOW_DOMAIN"];
        for (name, unknown) in [
            ("OPENFLOW_DOMIAN", true),
            ("OPENFLOW_DOMAIN", false),
            ("OPENFLOW_PROXY_THREADS", false),
            ("PATH", false),
        ] {
            assert_eq!(is_unknown(name, &known), unknown, "{name}");
        }
    }
}
