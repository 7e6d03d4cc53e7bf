//! The little of MQTT's wire format that is read outside of the core.
use bytes::{Buf as _, BufMut as _, BytesMut};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads a packet's fields from front to back.
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.0.try_get_u16().map_err(|_| Malformed)
    }

    /// A variable byte integer, at most four bytes.
    pub(crate) fn length(&mut self) -> Result<usize, Malformed> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// What follows a variable byte integer that says how long it is.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| Malformed)?;
        if text.contains('\0') {
            return Err(Malformed);
        }
        Ok(text)
    }

    /// The next property of MQTT 5 (§2.2.2) with its raw value; `None` at the end.
    pub(crate) fn property(&mut self) -> Result<Option<(u8, &'a [u8])>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let id = self.byte()?;
        let value = self.0;
        match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => drop(self.take(1)?),
            0x13 | 0x21 | 0x22 | 0x23 => drop(self.take(2)?),
            0x02 | 0x11 | 0x18 | 0x27 => drop(self.take(4)?),
            0x0b => drop(self.length()?),
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => drop(self.binary()?),
            0x26 => {
                self.binary()?;
                self.binary()?;
            }
            _ => return Err(Malformed),
        }
        let length = value.len() - self.0.len();
        Ok(Some((id, value.get(..length).ok_or(Malformed)?)))
    }
}

pub(crate) fn put_length(out: &mut BytesMut, mut length: usize) {
    loop {
        let byte = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        if length == 0 {
            return out.put_u8(byte);
        }
        out.put_u8(byte | 0x80);
    }
}

/// What the core adds to each message it forwards, and nobody asked for.
const ADDED: [&[u8]; 2] = [b"x-mqtt-client-id", b"x-mqtt-sender"];

/// Writes a PUBLISH of MQTT 5 without the user properties that the core added. A packet that is not understood is
/// written as it is.
pub(crate) fn put_publish(frame: &[u8], out: &mut BytesMut) {
    let start = out.len();
    if put_stripped(frame, out).is_err() {
        out.truncate(start);
        out.put_slice(frame);
    }
}

fn put_stripped(frame: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(frame);
    let first = cursor.byte()?;
    let length = cursor.length()?;
    if length != cursor.rest().len() {
        return Err(Malformed);
    }
    let head = cursor.rest();
    cursor.binary()?;
    if first & 0b110 != 0 {
        cursor.u16()?;
    }
    let head = head
        .get(..head.len() - cursor.rest().len())
        .ok_or(Malformed)?;
    let properties = cursor.sized()?;
    let (payload, mut kept) = (cursor.rest(), BytesMut::new());
    let mut cursor = Cursor::new(properties);
    while let Some((id, value)) = cursor.property()? {
        if id == 0x26 && ADDED.contains(&Cursor::new(value).binary()?) {
            continue;
        }
        kept.put_u8(id);
        kept.put_slice(value);
    }
    out.put_u8(first);
    let mut kept_length = BytesMut::new();
    put_length(&mut kept_length, kept.len());
    put_length(
        out,
        head.len() + kept_length.len() + kept.len() + payload.len(),
    );
    for part in [head, &kept_length, &kept, payload] {
        out.put_slice(part);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> Vec<u8> {
        let mut bytes = vec![0x26];
        for text in [key, value] {
            bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    fn publish(first: u8, properties: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut body = BytesMut::from(&b"\0\x03a/b"[..]);
        if first & 0b110 != 0 {
            body.put_u16(7);
        }
        put_length(&mut body, properties.len());
        body.put_slice(properties);
        body.put_slice(payload);
        let mut frame = BytesMut::from(&[first][..]);
        put_length(&mut frame, body.len());
        frame.put_slice(&body);
        frame.to_vec()
    }

    fn written(frame: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::from(&b"before"[..]);
        put_publish(frame, &mut out);
        out.split_off(6).to_vec()
    }

    #[test]
    fn only_the_added_properties_are_taken_out() {
        let own = [
            pair("x-mqtt-client", "1"),
            vec![0x01, 1],
            pair("k", "v"),
            pair("k", "v"),
        ];
        let own = own.concat();
        for (first, size) in [(0x30, 10), (0x33, 10), (0x3d, 200), (0x32, 20_000)] {
            let payload = vec![b'x'; size];
            let mut all = pair("x-mqtt-sender", "me");
            all.extend_from_slice(&own);
            all.extend(pair("x-mqtt-client-id", &"c".repeat(100)));
            let expected = publish(first, &own, &payload);
            assert_eq!(written(&publish(first, &all, &payload)), expected);
            assert_eq!(written(&expected), expected);
        }
    }

    #[test]
    fn what_is_not_understood_passes_unchanged() {
        let unknown = publish(0x30, &[0x7f, 1, 2], b"p");
        let mut short = publish(0x30, &pair("x-mqtt-sender", "me"), b"p");
        short.pop();
        for frame in [unknown, short, vec![0x30], Vec::new()] {
            assert_eq!(written(&frame), frame);
        }
    }

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for length in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            2_097_151,
            2_097_152,
            268_435_455,
        ] {
            let mut out = BytesMut::new();
            put_length(&mut out, length);
            assert_eq!(Cursor::new(&out).length(), Ok(length));
        }
        assert_eq!(Cursor::new(&[0xff; 5]).length(), Err(Malformed));
    }
}
