//! The client: one packet at a time, nothing hidden.
use std::{collections::VecDeque, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::DEADLINE;

pub(crate) const V4: u8 = 4;
pub(crate) const V5: u8 = 5;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) version: u8,
    pub(crate) client_id: String,
    pub(crate) username: String,
    pub(crate) password: Vec<u8>,
    pub(crate) clean: bool,
    /// Seconds, in MQTT 5.
    pub(crate) expiry: u32,
    /// Topic, payload, retain.
    pub(crate) will: Option<(String, String, bool)>,
    pub(crate) keep_alive: u16,
}

impl Options {
    pub(crate) fn new(version: u8, username: &str, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            username: username.to_owned(),
            password: b"pw".to_vec(),
            clean: true,
            expiry: 0,
            will: None,
            keep_alive: 0,
        }
    }

    pub(crate) fn persistent(mut self) -> Self {
        self.clean = false;
        self.expiry = 600;
        self
    }

    pub(crate) fn will(mut self, topic: &str, payload: &str, retain: bool) -> Self {
        self.will = Some((topic.to_owned(), payload.to_owned(), retain));
        self
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put(&mut body, b"MQTT");
        let will = self
            .will
            .as_ref()
            .map_or(0, |(_, _, retain)| 4 | u8::from(*retain) << 5);
        body.extend([self.version, 0xc0 | will | u8::from(self.clean) << 1]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.version == V5 {
            body.extend([5, 0x11]);
            body.extend(self.expiry.to_be_bytes());
        }
        put(&mut body, self.client_id.as_bytes());
        if let Some((topic, payload, _)) = &self.will {
            if self.version == V5 {
                body.push(0);
            }
            put(&mut body, topic.as_bytes());
            put(&mut body, payload.as_bytes());
        }
        put(&mut body, self.username.as_bytes());
        put(&mut body, &self.password);
        packet(0x10, &body)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// As they came, in MQTT 5.
    pub(crate) properties: Vec<u8>,
}

impl Publish {
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.topic, String::from_utf8_lossy(&self.payload))
    }
}

pub(crate) struct Client {
    stream: Box<dyn Stream>,
    version: u8,
    received: VecDeque<Publish>,
    next_id: u16,
    pub(crate) session_present: bool,
    /// The CONNACK's properties.
    pub(crate) properties: Vec<u8>,
    /// Answers QoS 1 and 2.
    pub(crate) acknowledges: bool,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, options: Options) -> (Option<Self>, u8) {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(Box::new(stream), options).await
    }

    pub(crate) async fn over(stream: Box<dyn Stream>, options: Options) -> (Option<Self>, u8) {
        let mut client = Self {
            stream,
            version: options.version,
            received: VecDeque::new(),
            next_id: 1,
            session_present: false,
            properties: Vec::new(),
            acknowledges: true,
        };
        client.send(&options.packet()).await;
        let (kind, body) = client.read().await.expect("an answer");
        assert_eq!(kind, 0x20, "a CONNACK");
        client.session_present = body[0] == 1;
        client.properties = body[2..].to_vec();
        let code = body[1];
        ((code == 0).then_some(client), code)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// One packet; `None` when the connection has ended.
    pub(crate) async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(DEADLINE, self.read_packet())
            .await
            .expect("a packet or an end")
    }

    async fn read_packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let kind = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((kind, body))
    }

    fn id(&mut self) -> u16 {
        self.next_id += 1;
        self.next_id
    }

    /// Waits for a packet of a kind, and keeps the messages that come before it.
    pub(crate) async fn expect(&mut self, wanted: u8) -> Vec<u8> {
        loop {
            let (kind, body) = self.read().await.expect("the connection has ended");
            if kind & 0xf0 == 0x30 {
                self.take(kind, &body).await;
            } else if kind & 0xf0 == 0x60 && wanted != 0x60 {
                self.send(&packet(0x70, &body[..2])).await; // PUBREL
            } else {
                assert_eq!(
                    kind & 0xf0,
                    wanted,
                    "an unexpected packet {kind:x} {body:?}"
                );
                return body;
            }
        }
    }

    async fn take(&mut self, kind: u8, body: &[u8]) {
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let mut at = 2 + length;
        let qos = kind >> 1 & 3;
        if qos > 0 {
            if self.acknowledges {
                let answer = if qos == 1 { 0x40 } else { 0x50 };
                self.send(&packet(answer, &body[at..at + 2])).await;
            }
            at += 2;
        }
        let mut properties = Vec::new();
        if self.version == V5 {
            let (mut length, mut shift) = (0, 0);
            loop {
                let byte = body[at];
                at += 1;
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            properties = body[at..at + length].to_vec();
            at += length;
        }
        self.received.push_back(Publish {
            topic,
            payload: body[at..].to_vec(),
            qos,
            retain: kind & 1 == 1,
            properties,
        });
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Publish {
        loop {
            if let Some(publish) = self.received.pop_front() {
                return publish;
            }
            let (kind, body) = self.read().await.expect("the connection has ended");
            match kind & 0xf0 {
                0x30 => self.take(kind, &body).await,
                0x60 => self.send(&packet(0x70, &body[..2])).await,
                _ => panic!("an unexpected packet {kind:x} {body:?}"),
            }
        }
    }

    /// Messages until one on this topic, without it.
    pub(crate) async fn until(&mut self, topic: &str) -> Vec<Publish> {
        let mut messages = Vec::new();
        loop {
            let message = self.next().await;
            if message.topic == topic {
                return messages;
            }
            messages.push(message);
        }
    }

    /// The SUBACK's code.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let mut body = self.id().to_be_bytes().to_vec();
        if self.version == V5 {
            body.push(0);
        }
        put(&mut body, filter.as_bytes());
        body.push(qos);
        self.send(&packet(0x82, &body)).await;
        *self.expect(0x90).await.last().unwrap()
    }

    pub(crate) async fn unsubscribe(&mut self, filter: &str) {
        let mut body = self.id().to_be_bytes().to_vec();
        if self.version == V5 {
            body.push(0);
        }
        put(&mut body, filter.as_bytes());
        self.send(&packet(0xa2, &body)).await;
        self.expect(0xb0).await;
    }

    /// A PUBLISH as bytes.
    pub(crate) fn publish_packet(
        &mut self,
        topic: &str,
        payload: &[u8],
        flags: u8,
        properties: &[u8],
    ) -> Vec<u8> {
        let mut body = Vec::new();
        put(&mut body, topic.as_bytes());
        if flags & 6 != 0 {
            body.extend(self.id().to_be_bytes());
        }
        if self.version == V5 {
            put_length(&mut body, properties.len());
            body.extend_from_slice(properties);
        }
        body.extend_from_slice(payload);
        packet(0x30 | flags, &body)
    }

    /// Publishes and waits for the acknowledgement; returns its code in MQTT 5.
    pub(crate) async fn publish(
        &mut self,
        topic: &str,
        payload: &str,
        qos: u8,
        retain: bool,
    ) -> u8 {
        let flags = qos << 1 | u8::from(retain);
        let bytes = self.publish_packet(topic, payload.as_bytes(), flags, &[]);
        self.send(&bytes).await;
        let code = |body: &[u8]| body.get(2).copied().unwrap_or_default();
        match qos {
            0 => 0,
            1 => code(&self.expect(0x40).await),
            _ => {
                let body = self.expect(0x50).await;
                if code(&body) < 0x80 {
                    self.send(&packet(0x62, &body[..2])).await;
                    self.expect(0x70).await;
                }
                code(&body)
            }
        }
    }

    pub(crate) async fn ping(&mut self) {
        self.send(&[0xc0, 0]).await;
        self.expect(0xd0).await;
    }

    pub(crate) async fn disconnect(mut self) {
        self.send(&[0xe0, 0]).await;
        while self.read().await.is_some() {}
    }

    /// Reads on to the end; the code of a DISCONNECT, if there is one.
    pub(crate) async fn end(&mut self) -> Option<u8> {
        let mut code = None;
        while let Some((kind, body)) = self.read().await {
            if kind == 0xe0 {
                code = body.first().copied();
            }
        }
        code
    }
}

pub(crate) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let byte = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        out.push(if length == 0 { byte } else { byte | 0x80 });
        if length == 0 {
            return;
        }
    }
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    put_length(&mut packet, body.len());
    packet.extend_from_slice(body);
    packet
}

impl Client {
    /// The texts of messages until this one, without it.
    pub(crate) async fn next_until_text(&mut self, last: &str) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let text = self.next().await.text();
            if text == last {
                return texts;
            }
            texts.push(text);
        }
    }

    /// Waits for so many PUBACKs, and for a PINGRESP after them.
    pub(crate) async fn ping_after_acks(&mut self, count: usize) {
        for _ in 0..count {
            self.expect(0x40).await;
        }
        self.ping().await;
    }
}

impl Client {
    /// For a client that may be cut meanwhile.
    pub(crate) async fn send_or_end(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.ok();
    }
}
