//! PAX records: "<length> <key>=<value>\n", where the length counts itself.

pub(crate) fn push(records: &mut Vec<u8>, key: &str, value: impl AsRef<[u8]>) {
    let value = value.as_ref();
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// The records of one header; None when it is not well-formed.
pub(super) fn parse(mut bytes: &[u8]) -> Option<Vec<(&str, &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(12).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let key = std::str::from_utf8(&record[..equals]).ok()?;
        records.push((key, &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::{parse, push};

    #[test]
    fn records_come_back_at_every_length() {
        for length in (0..1200).chain([9_980, 9_990, 99_980]) {
            let value = "x".repeat(length);
            let mut records = Vec::new();
            push(&mut records, "path", &value);
            push(&mut records, "mtime", "1.5");
            let read = parse(&records).unwrap();
            assert_eq!(read, [("path", value.as_bytes()), ("mtime", b"1.5")]);
        }
        for wrong in [
            "5 a",
            "9 path=x",
            "0 a=b\n",
            "-6 a=b\n",
            "99999999999999 a=b\n",
            "6 path\n",
            "x",
        ] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
