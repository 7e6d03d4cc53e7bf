//! Reading rows of COPY's text format: columns end with a tab, rows with a
//! line break, and a backslash hides both.
use std::io::{BufRead, Read as _};

use anyhow::{Context as _, ensure};

const ROW_BYTES_MAX: usize = 64 << 20;

/// The next row's columns (`None`: NULL); `None` at the end.
pub(in crate::installation) fn next_row(
    from: &mut impl BufRead,
) -> anyhow::Result<Option<Vec<Option<Vec<u8>>>>> {
    let mut line = Vec::new();
    let limit = ROW_BYTES_MAX as u64 + 2;
    from.by_ref().take(limit).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    ensure!(
        line.pop() == Some(b'\n') && line.len() <= ROW_BYTES_MAX,
        "a row of the dump is cut or far too long"
    );
    // A hidden tab is written as \t, so that each real one ends a column.
    let columns = line.split(|it| *it == b'\t');
    columns.map(column).collect::<Result<_, _>>().map(Some)
}

fn column(text: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    if text == b"\\N" {
        return Ok(None);
    }
    let mut value = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            value.push(*byte);
            continue;
        }
        let hidden = bytes.next().context("a row of the dump ends in \\")?;
        value.push(match hidden {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            other => *other,
        });
    }
    Ok(Some(value))
}

/// What a column of type `bytea` holds: `\x` and hexadecimal digits.
pub(in crate::installation) fn bytea(text: &[u8]) -> anyhow::Result<Vec<u8>> {
    let digits = text.strip_prefix(b"\\x").context("no bytea in the dump")?;
    let pairs = digits.chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok().filter(|it| it.len() == 2);
        let byte = text.and_then(|it| u8::from_str_radix(it, 16).ok());
        byte.context("no bytea in the dump")
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_postgres_writes_them() {
        let mut text: &[u8] = b"a\\tb\t\\N\t\\\\x00ff\n\t\\n\n";
        let first = next_row(&mut text).unwrap().unwrap();
        assert_eq!(first[0].as_deref(), Some(&b"a\tb"[..]));
        assert_eq!(first[1], None);
        let bytes = first[2].as_deref().unwrap();
        assert_eq!(bytea(bytes).unwrap(), [0, 255]);
        let second = next_row(&mut text).unwrap().unwrap();
        assert_eq!(second, [Some(Vec::new()), Some(b"\n".to_vec())]);
        assert_eq!(next_row(&mut text).unwrap(), None);
        assert!(next_row(&mut &b"cut"[..]).is_err());
    }
}
