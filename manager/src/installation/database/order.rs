//! In which order tables can be loaded: what is referred to comes first.
use anyhow::ensure;

use crate::installation::manifest::Table;

/// `references` are pairs of names: the first refers to the second.
pub(super) fn loadable(
    mut tables: Vec<Table>,
    references: &[(String, String)],
) -> anyhow::Result<Vec<Table>> {
    let mut ordered: Vec<Table> = Vec::with_capacity(tables.len());
    while !tables.is_empty() {
        let waits = |it: &Table| {
            let mut parents = references.iter().filter(|(child, _)| *child == it.name);
            parents.any(|(_, parent)| tables.iter().any(|it| it.name == *parent))
        };
        let (later, now): (Vec<_>, Vec<_>) = tables.iter().cloned().partition(waits);
        ensure!(
            !now.is_empty(),
            "the tables {:?} refer to each other in a circle",
            later.iter().map(|it| &it.name).collect::<Vec<_>>()
        );
        ordered.extend(now);
        tables = later;
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[&str], references: &[(&str, &str)]) -> anyhow::Result<Vec<String>> {
        let table = |it: &&str| Table {
            name: (*it).to_owned(),
            columns: Vec::new(),
            rows: 0,
            bytes: 0,
        };
        let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        let references: Vec<_> = references.iter().map(owned).collect();
        let ordered = loadable(names.iter().map(table).collect(), &references)?;
        Ok(ordered.into_iter().map(|it| it.name).collect())
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        let ordered = order(&["a", "b", "c", "d"], &[("a", "b"), ("b", "d"), ("a", "d")]);
        assert_eq!(ordered.unwrap(), ["c", "d", "b", "a"]);
    }

    #[test]
    fn a_circle_is_an_error() {
        let error = order(&["a", "b"], &[("a", "b"), ("b", "a")]).unwrap_err();
        assert!(error.to_string().contains("circle"));
    }
}
