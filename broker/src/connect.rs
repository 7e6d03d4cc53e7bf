//! The CONNECT packet: read it before anything is decided, and write it anew for the core that will serve it.
//!
//! MQTT 3.1.1 §3.1 and MQTT 5 §3.1. What is not needed here (the will, most properties) is passed on as it came, and
//! judged by the core.
use std::borrow::Cow;

use bytes::{BufMut as _, Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::{
    events::Protocol,
    frames::{Cursor, Malformed, put_length},
};

/// A will of 64 KiB, a long token as password and properties fit in.
const BYTES_MAX: usize = 256 << 10;
/// The core cuts silent clients that ask for no keep-alive after five minutes; with the longest keep-alive it does not.
const KEEP_ALIVE_MAX: u16 = u16::MAX;
/// Begins the ids that are ours: those of clients whose own id cannot name a file, and of watchers.
pub(crate) const OWN_ID: char = '~';
const ID_BYTES_MAX: usize = 128;

const USERNAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS: u8 = 0x18;
const WILL: u8 = 0x04;
const CLEAN: u8 = 0x02;
const RESERVED: u8 = 0x01;

#[derive(Debug)]
pub(crate) enum ConnectError {
    /// Not worth an answer: closed, too long, or no CONNECT.
    Gone,
    Malformed,
    /// A well-formed beginning of another version: MQTT 3.1, or a later one than 5.
    Version(u8),
}

impl From<Malformed> for ConnectError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

pub(crate) struct Connect {
    pub(crate) protocol: Protocol,
    pub(crate) client_id: String,
    pub(crate) username: String,
    pub(crate) password: Vec<u8>,
    /// The session may outlive the connection.
    pub(crate) persistent: bool,
    pub(crate) receive_maximum: u16,
    flags: u8,
    keep_alive: u16,
    /// As they came, with their length; empty in 3.1.1.
    properties: Bytes,
    /// Likewise: will properties, topic and payload.
    will: Bytes,
}

/// Reads one CONNECT; what the client sent after it is returned beside.
pub(crate) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<(Connect, Bytes), ConnectError> {
    let mut buffer = BytesMut::with_capacity(512);
    let frame = loop {
        if let Some(frame) = frame_len(&buffer)? {
            buffer.reserve(frame.saturating_sub(buffer.len()));
            if buffer.len() >= frame {
                break frame;
            }
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return Err(ConnectError::Gone),
            Ok(_) => {}
        }
    };
    let packet = buffer.split_to(frame).freeze();
    Ok((parse(&packet)?, buffer.freeze()))
}

fn frame_len(buffer: &[u8]) -> Result<Option<usize>, ConnectError> {
    if buffer.first().is_some_and(|first| *first != 0x10) {
        return Err(ConnectError::Gone);
    }
    let mut cursor = Cursor::new(buffer.get(1..).unwrap_or_default());
    match cursor.length() {
        Ok(body) if body > BYTES_MAX => Err(ConnectError::Gone),
        Ok(body) => Ok(Some(buffer.len() - cursor.rest().len() + body)),
        Err(_) if buffer.len() > 4 => Err(ConnectError::Malformed),
        Err(_) => Ok(None),
    }
}

fn parse(packet: &Bytes) -> Result<Connect, ConnectError> {
    let mut cursor = Cursor::new(packet.get(1..).unwrap_or_default());
    cursor.length()?;
    let name = cursor.binary()?;
    let level = cursor.byte()?;
    let protocol = match (name, level) {
        (b"MQTT", 4) => Protocol::V311,
        (b"MQTT", 5) => Protocol::V5,
        (b"MQTT", _) | (b"MQIsdp", 3) => return Err(ConnectError::Version(level)),
        _ => return Err(ConnectError::Malformed),
    };
    let flags = cursor.byte()?;
    check_flags(flags, protocol)?;
    let keep_alive = cursor.u16()?;
    let v5 = protocol == Protocol::V5;
    let start = cursor.rest();
    let wishes = if v5 {
        Wishes::read(cursor.sized()?)
    } else {
        Wishes::default()
    };
    let properties = packet.slice_ref(taken(start, &cursor));
    let client_id = cursor.text()?.to_owned();
    let start = cursor.rest();
    if flags & WILL != 0 {
        if v5 {
            cursor.sized()?;
        }
        cursor.text()?;
        cursor.binary()?;
    }
    let will = packet.slice_ref(taken(start, &cursor));
    let username = if flags & USERNAME == 0 {
        ""
    } else {
        cursor.text()?
    };
    let password = if flags & PASSWORD == 0 {
        &[]
    } else {
        cursor.binary()?
    };
    if !cursor.rest().is_empty() {
        return Err(ConnectError::Malformed);
    }
    Ok(Connect {
        protocol,
        client_id,
        username: username.to_owned(),
        password: password.to_vec(),
        persistent: if v5 {
            wishes.session_expiry > 0
        } else {
            flags & CLEAN == 0
        },
        receive_maximum: wishes.receive_maximum,
        flags,
        keep_alive,
        properties,
        will,
    })
}

fn check_flags(flags: u8, protocol: Protocol) -> Result<(), Malformed> {
    let will_without = flags & WILL == 0 && flags & (WILL_QOS | WILL_RETAIN) != 0;
    let password_alone =
        protocol == Protocol::V311 && flags & PASSWORD != 0 && flags & USERNAME == 0;
    if flags & RESERVED != 0 || flags & WILL_QOS == WILL_QOS || will_without || password_alone {
        return Err(Malformed);
    }
    Ok(())
}

fn taken<'a>(before: &'a [u8], now: &Cursor<'a>) -> &'a [u8] {
    before
        .get(..before.len() - now.rest().len())
        .unwrap_or_default()
}

/// The properties that matter before the core sees them. Faulty ones are left for it to refuse.
struct Wishes {
    session_expiry: u32,
    receive_maximum: u16,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            session_expiry: 0,
            receive_maximum: u16::MAX,
        }
    }
}

impl Wishes {
    fn read(properties: &[u8]) -> Self {
        let mut wishes = Self::default();
        let mut cursor = Cursor::new(properties);
        while let Ok(Some((id, value))) = cursor.property() {
            match (id, value) {
                (0x11, [a, b, c, d]) => {
                    wishes.session_expiry = u32::from_be_bytes([*a, *b, *c, *d]);
                }
                (0x21, [a, b]) => wishes.receive_maximum = u16::from_be_bytes([*a, *b]),
                _ => {}
            }
        }
        wishes
    }
}

impl Connect {
    /// The packet for the core: without credentials, and with an id that is safe as a file's name.
    pub(crate) fn for_core(&self, id: &str) -> BytesMut {
        let mut body = BytesMut::with_capacity(64 + self.properties.len() + self.will.len());
        body.put_slice(b"\0\x04MQTT");
        body.put_u8(if self.protocol == Protocol::V5 { 5 } else { 4 });
        body.put_u8(self.flags & !(USERNAME | PASSWORD));
        body.put_u16(match self.keep_alive {
            0 => KEEP_ALIVE_MAX,
            seconds => seconds,
        });
        body.put_slice(&self.properties);
        body.put_u16(u16::try_from(id.len()).unwrap_or_default());
        body.put_slice(id.as_bytes());
        body.put_slice(&self.will);
        let mut packet = BytesMut::with_capacity(body.len() + 5);
        packet.put_u8(0x10);
        put_length(&mut packet, body.len());
        packet.put_slice(&body);
        packet
    }
}

/// The id by which the core knows a client. Sessions are files, so an id that could not name one is replaced by its
/// hash; two ids never become the same.
pub(crate) fn core_id(client_id: &str) -> Cow<'_, str> {
    let unsafe_name = client_id.contains(['/', '\\'])
        || client_id.contains("..")
        || client_id == "."
        || client_id.starts_with(OWN_ID)
        || client_id.starts_with("cert:") // the core reserves these
        || client_id.chars().any(char::is_control)
        || client_id.len() > ID_BYTES_MAX;
    if !unsafe_name {
        return Cow::Borrowed(client_id);
    }
    let hash = Sha256::digest(client_id.as_bytes());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(format!("{OWN_ID}{hex}"))
}

/// A refusal in the words of the client's version: codes of 3.1.1 §3.2.2.3 and 5 §3.2.2.2.
pub(crate) fn refusal(protocol: Protocol, v311_code: u8, v5_code: u8) -> Vec<u8> {
    match protocol {
        Protocol::V311 => vec![0x20, 2, 0, v311_code],
        Protocol::V5 => vec![0x20, 3, 0, v5_code, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v311(flags: u8, payload: &[&[u8]]) -> Vec<u8> {
        let mut body = b"\0\x04MQTT\x04".to_vec();
        body.extend([flags, 0, 0]);
        for part in payload {
            body.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            body.extend_from_slice(part);
        }
        let mut packet = BytesMut::from(&[0x10][..]);
        put_length(&mut packet, body.len());
        packet.extend_from_slice(&body);
        packet.to_vec()
    }

    #[test]
    fn credentials_do_not_reach_the_core() {
        let packet = v311(USERNAME | PASSWORD | CLEAN, &[b"id", b"ada", b"secret"]);
        let connect = parse(&Bytes::from(packet)).unwrap();
        assert_eq!(
            (connect.username.as_str(), connect.client_id.as_str()),
            ("ada", "id")
        );
        assert_eq!(connect.password, b"secret");
        let rewritten = connect.for_core("other").freeze();
        let again = parse(&rewritten).unwrap();
        assert_eq!(
            (again.username.as_str(), again.client_id.as_str()),
            ("", "other")
        );
        assert!(!rewritten.windows(6).any(|part| part == b"secret"));
    }

    #[test]
    fn malformed_packets_are_told_from_other_versions() {
        let good = v311(CLEAN, &[b"id"]);
        let reserved = v311(CLEAN | RESERVED, &[b"id"]);
        let password_alone = v311(CLEAN | PASSWORD, &[b"id", b"p"]);
        let will_qos_alone = v311(CLEAN | 0x08, &[b"id"]);
        let trailing = v311(CLEAN, &[b"id", b"more"]);
        let not_utf8 = v311(CLEAN, &[b"\xff"]);
        let nul = v311(CLEAN, &[b"a\0b"]);
        assert!(parse(&Bytes::from(good.clone())).is_ok());
        for bad in [
            reserved,
            password_alone,
            will_qos_alone,
            trailing,
            not_utf8,
            nul,
        ] {
            assert!(matches!(
                parse(&Bytes::from(bad)),
                Err(ConnectError::Malformed)
            ));
        }
        let mut old = b"\x10\x0e\0\x06MQIsdp\x03\x02\0\0\0\0".to_vec();
        assert!(matches!(
            parse(&Bytes::from(old.clone())),
            Err(ConnectError::Version(3))
        ));
        old[10] = 4;
        assert!(matches!(
            parse(&Bytes::from(old)),
            Err(ConnectError::Malformed)
        ));
        for cut in 2..good.len() {
            let mut short = good[..cut].to_vec();
            short[1] = u8::try_from(cut - 2).unwrap();
            assert!(parse(&Bytes::from(short)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn ids_that_cannot_name_a_file_are_replaced_without_collisions() {
        for plain in ["", "a", "sensor 1", "ünï", "auto-1", "a:b", ".a"] {
            assert_eq!(core_id(plain), plain);
        }
        let long = "x".repeat(129);
        let replaced = [
            "a/b", "a\\b", ".", "..", "../a", "~a", "a\n", "cert:a", &long,
        ];
        let ids: std::collections::HashSet<_> = replaced.iter().map(|id| core_id(id)).collect();
        assert_eq!(ids.len(), replaced.len());
        assert!(ids.iter().all(|id| id.len() == 65 && !id.contains('/')));
        let twice = core_id("a/b").into_owned();
        assert_ne!(
            core_id(&twice),
            twice,
            "nobody can claim another's replaced id"
        );
    }
}
