//! MQTT 5 packets on a stream, none larger than a limit.
//!
//! Only the packets' encoding is a library's. The client that goes with it
//! queues without a limit what nobody has looked at, and brings a TLS provider
//! of its own.
use std::{io, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use mqtt5_protocol::{
    ConnectOptions, FixedHeader, Packet, PacketType, QoS,
    packet::{
        MqttPacket,
        connect::ConnectPacket,
        disconnect::DisconnectPacket,
        pingreq::PingReqPacket,
        subscribe::{SubscribePacket, TopicFilter},
        subscribe_options::SubscriptionOptions,
    },
    protocol::PROTOCOL_VERSION_5,
    types::ReasonCode,
};
use tokio_util::codec::Decoder;

use crate::mqtt::console::ConsoleLogin;

/// What EMQX may send us: somewhat above `mqtt.max_packet_size` of our
/// emqx.conf, because the mountpoint is taken off and properties may come on.
const PACKET_BYTES_MAX: usize = 2 << 20;
/// A length is at most four bytes of seven bits.
const LENGTH_BYTES_MAX: usize = 4;

/// Cuts a stream into packets.
pub(super) struct Packets;

pub(super) enum Received {
    Packet(Packet),
    /// A message whose content breaks a rule; the next one can be read.
    BadMessage,
}

impl Decoder for Packets {
    type Item = Received;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Received>> {
        let Some((head, body)) = lengths(buffer)? else {
            return Ok(None);
        };
        let whole = head + body;
        if PACKET_BYTES_MAX < whole {
            return Err(invalid("a packet is larger than was allowed"));
        }
        if buffer.len() < whole {
            buffer.reserve(whole - buffer.len());
            return Ok(None);
        }
        let mut packet: Bytes = buffer.split_to(whole).freeze();
        let header = FixedHeader::decode(&mut packet).map_err(invalid)?;
        let kind = header.packet_type;
        match Packet::decode_from_body_with_version(kind, &header, &mut packet, PROTOCOL_VERSION_5)
        {
            Ok(packet) => Ok(Some(Received::Packet(packet))),
            Err(_) if kind == PacketType::Publish => Ok(Some(Received::BadMessage)),
            Err(error) => Err(invalid(error)),
        }
    }
}

/// Of the fixed header and of the body; `None` while the header is not there.
fn lengths(buffer: &BytesMut) -> io::Result<Option<(usize, usize)>> {
    let mut peek = &buffer[..];
    if !peek.has_remaining() {
        return Ok(None);
    }
    peek.advance(1);
    let mut body = 0;
    for n in 0..LENGTH_BYTES_MAX {
        if !peek.has_remaining() {
            return Ok(None);
        }
        let byte = peek.get_u8();
        body |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Ok(Some((n + 2, body)));
        }
    }
    Err(invalid("a packet's length has more than four bytes"))
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

pub(super) fn connect(
    login: &ConsoleLogin,
    client_id: String,
    keep_alive: Duration,
) -> io::Result<BytesMut> {
    let mut options = ConnectOptions::new(client_id)
        .with_credentials(&login.username, login.password.expose())
        .with_keep_alive(keep_alive)
        .with_clean_start(true);
    options.properties.maximum_packet_size = u32::try_from(PACKET_BYTES_MAX).ok();
    encode(&ConnectPacket::new(options))
}

/// To everything; each message with the retain flag that it was published with.
pub(super) fn subscribe() -> io::Result<BytesMut> {
    let mut options = SubscriptionOptions::new(QoS::AtMostOnce);
    options.retain_as_published = true;
    let filter = TopicFilter::with_options("#", options);
    encode(&SubscribePacket::new(1).add_filter_with_options(filter))
}

pub(super) fn ping() -> io::Result<BytesMut> {
    encode(&PingReqPacket::default())
}

pub(super) fn disconnect() -> io::Result<BytesMut> {
    encode(&DisconnectPacket::new(ReasonCode::Success))
}

fn encode(packet: &impl MqttPacket) -> io::Result<BytesMut> {
    let mut bytes = BytesMut::new();
    packet.encode(&mut bytes).map_err(invalid)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use mqtt5_protocol::packet::publish::PublishPacket;

    use super::*;

    fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
        let packet = PublishPacket::new(topic, payload.to_vec(), QoS::AtMostOnce);
        encode(&packet).unwrap().to_vec()
    }

    #[test]
    fn packets_come_whole_however_they_are_cut() {
        let stream = [
            publish("a/b", b"one"),
            publish("c", &[7; 300]),
            vec![0xd0, 0],
        ]
        .concat();
        for step in [1, 2, 3, 7, stream.len()] {
            let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
            for part in stream.chunks(step) {
                buffer.extend_from_slice(part);
                while let Some(it) = Packets.decode(&mut buffer).unwrap() {
                    found.push(match it {
                        Received::Packet(Packet::Publish(it)) => (it.topic_name, it.payload.len()),
                        Received::Packet(it) => (it.packet_type_name().to_owned(), 0),
                        Received::BadMessage => unreachable!(),
                    });
                }
            }
            let expected = [("a/b", 3), ("c", 300), ("PINGRESP", 0)];
            assert_eq!(
                found,
                expected.map(|(name, n)| (name.to_owned(), n)),
                "{step}"
            );
        }
    }

    #[test]
    fn a_bad_message_is_passed_over_and_a_bad_stream_ends() {
        // A topic's length that reaches past the packet.
        let stream = [vec![0x30, 3, 0xff, 0xff, b'x'], publish("a", b"")].concat();
        let mut buffer = BytesMut::from(&stream[..]);
        let first = Packets.decode(&mut buffer).unwrap();
        assert!(matches!(first, Some(Received::BadMessage)));
        let second = Packets.decode(&mut buffer).unwrap();
        assert!(matches!(second, Some(Received::Packet(Packet::Publish(_)))));
        for bad in [
            &[0x30, 0xff, 0xff, 0xff, 0xff, 0x01][..],
            &[0x30, 0xff, 0xff, 0xff, 0x7f],
            &[0x00, 0],
            &[0x20, 1, 0],
        ] {
            let mut buffer = BytesMut::from(bad);
            assert!(Packets.decode(&mut buffer).is_err(), "{bad:?}");
        }
    }
}
