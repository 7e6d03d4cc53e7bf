//! The README's table of settings is the program's own. To write it anew:
//! `OPENFLOW_TEST_UPDATE=1 cargo test -p openflow-manager --test readme`
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{env, fmt::Write as _, fs, path::Path};

use clap::Arg;

const BEGIN: &str = "<!-- settings: written by manager/tests/readme.rs -->\n";
const END: &str = "<!-- end of settings -->\n";

#[test]
fn the_readme_lists_every_setting_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let expected = table_of_settings();
    if env::var_os("OPENFLOW_TEST_UPDATE").is_some() {
        fs::write(path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        table, expected,
        "the README is not current; the head of this test says how to write it anew"
    );
}

#[test]
fn every_setting_is_a_flag_and_a_variable_of_openflow() {
    let mut seen = 0;
    for arg in settings(&openflow_manager::cli::command()) {
        let name = arg.get_env().unwrap().to_str().unwrap();
        assert!(
            name.starts_with("OPENFLOW_") || name == "DATABASE_URL",
            "{name}"
        );
        assert!(arg.get_long().is_some(), "{name} is no flag");
        assert!(arg.is_global_set(), "{name} is not a flag of each command");
        assert!(
            arg.is_hide_env_values_set(),
            "the help would show the value of {name}"
        );
        seen += 1;
    }
    assert!(20 < seen);
}

fn settings(command: &clap::Command) -> Vec<&Arg> {
    command
        .get_arguments()
        .filter(|it| it.get_env().is_some())
        .collect()
}

fn table_of_settings() -> String {
    let command = openflow_manager::cli::command();
    let mut table = String::new();
    let mut heading = "";
    for arg in settings(&command) {
        let group = arg.get_help_heading().unwrap_or("Other");
        if group != heading {
            heading = group;
            write!(
                table,
                "\n**{group}**\n\n| variable | flag | default | what |\n| --- | --- | --- | --- |\n"
            )
            .unwrap();
        }
        let default = arg.get_default_values().first();
        let default = match default.and_then(|it| it.to_str()) {
            Some(value) if arg.get_action().takes_values() => format!("`{value}`"),
            _ => String::new(),
        };
        writeln!(
            table,
            "| `{}` | `--{}` | {default} | {} |",
            arg.get_env().unwrap().to_str().unwrap(),
            arg.get_long().unwrap(),
            escaped(&arg.get_help().unwrap().to_string()),
        )
        .unwrap();
    }
    table.push('\n');
    table
}

/// As plain text in a cell of a Markdown table.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
