//! A project's messages as an MQTT client of EMQX sees them.
use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use mqtt5_protocol::{Packet, packet::publish::PublishPacket};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_rustls::TlsConnector;
use tokio_util::codec::FramedRead;
use url::Url;

use super::{
    inbox::{Inbox, inbox},
    packets::{self, Packets, Received},
    tls,
};
use crate::{
    crypto::random_token,
    mqtt::{BrokerError, Message, Watch, console::ConsoleLogin},
};

/// From the first byte to the confirmed subscription.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const PING_PERIOD: Duration = Duration::from_secs(15);
/// Two pings without an answer.
const SILENCE_MAX: Duration = Duration::from_secs(40);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Reader = FramedRead<ReadHalf<Box<dyn Stream>>, Packets>;
type Writer = WriteHalf<Box<dyn Stream>>;

/// Subscribes to everything below the project's mountpoint. What cannot be
/// kept for a slow watcher is counted; see [`super::inbox`].
pub(super) async fn watch(url: &Url, login: &ConsoleLogin) -> Result<Watch, BrokerError> {
    let (inbox, watch) = inbox();
    let begun = tokio::time::timeout(HANDSHAKE_TIMEOUT, begin(url, login, &inbox)).await;
    let (reader, writer) =
        begun.map_err(|_| BrokerError::Unavailable("EMQX takes too long".to_owned()))??;
    tokio::spawn(follow(reader, writer, inbox));
    Ok(watch)
}

async fn begin(
    url: &Url,
    login: &ConsoleLogin,
    inbox: &Inbox,
) -> Result<(Reader, Writer), BrokerError> {
    let (reader, mut writer) = tokio::io::split(open(url).await?);
    let mut reader = FramedRead::new(reader, Packets);
    let client_id = random_token();
    write(&mut writer, packets::connect(login, client_id, KEEP_ALIVE)).await?;
    match read(&mut reader).await? {
        Received::Packet(Packet::ConnAck(ack)) if ack.reason_code.is_success() => {}
        Received::Packet(Packet::ConnAck(ack)) => {
            return Err(BrokerError::Unavailable(format!(
                "EMQX does not let the manager in ({:?}): it asks a manager at /mqtt/auth; openflow doctor looks at its settings",
                ack.reason_code
            )));
        }
        _ => return Err(no_broker()),
    }
    write(&mut writer, packets::subscribe()).await?;
    loop {
        match read(&mut reader).await? {
            Received::Packet(Packet::SubAck(ack)) => {
                let granted = ack.reason_codes.iter().all(|it| it.is_success());
                if !granted {
                    let why = "EMQX refuses the subscription to #: set authorization { no_match = allow, sources = [] } in emqx.conf";
                    return Err(BrokerError::Unsupported(why.to_owned()));
                }
                return Ok((reader, writer));
            }
            // Retained messages may come before.
            other => take(other, inbox)?,
        }
    }
}

async fn open(url: &Url) -> Result<Box<dyn Stream>, BrokerError> {
    match url.scheme() {
        "mqtt" => Ok(Box::new(super::connect(url).await?)),
        "mqtts" => {
            let config = tls::trusting_the_hosts_authorities()?;
            let name = ServerName::try_from(url.host_str().unwrap_or_default().to_owned());
            let name = name.map_err(|error| BrokerError::Unsupported(error.to_string()))?;
            let stream = super::connect(url).await?;
            let stream = TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await;
            Ok(Box::new(stream.map_err(unavailable)?))
        }
        scheme => Err(BrokerError::Unsupported(format!(
            "messages cannot be watched over {scheme}://: set OPENFLOW_MQTT_URL to an address with mqtt:// or mqtts://"
        ))),
    }
}

/// Reads until nobody watches or the connection ends.
async fn follow(mut reader: Reader, mut writer: Writer, inbox: Inbox) {
    let mut pings = interval(PING_PERIOD);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let done = tokio::select! {
            () = inbox.unwatched() => {
                // Best effort; the connection ends with us anyway.
                let _ = write(&mut writer, packets::disconnect()).await;
                return;
            }
            received = read(&mut reader) => {
                heard = Instant::now();
                received.and_then(|it| take(it, &inbox))
            }
            _ = pings.tick() => if heard.elapsed() < SILENCE_MAX {
                write(&mut writer, packets::ping()).await
            } else {
                Err(BrokerError::Unavailable("EMQX is silent".to_owned()))
            },
        };
        if let Err(error) = done {
            tracing::debug!(%error, "the watching of a project's messages ends: {error}");
            return;
        }
    }
}

fn take(received: Received, inbox: &Inbox) -> Result<(), BrokerError> {
    match received {
        Received::Packet(Packet::Publish(packet)) => inbox.offer(message(packet)),
        Received::BadMessage => inbox.lose(),
        Received::Packet(Packet::PingResp) => {}
        Received::Packet(Packet::Disconnect(packet)) => {
            return Err(BrokerError::Unavailable(format!(
                "EMQX ended it: {:?}",
                packet.reason_code
            )));
        }
        Received::Packet(_) => return Err(no_broker()),
    }
    Ok(())
}

fn message(packet: PublishPacket) -> Message {
    Message {
        topic: packet.topic_name,
        // A copy: the packet is part of a larger buffer.
        payload: bytes::Bytes::copy_from_slice(&packet.payload),
        qos: packet.qos as u8,
        retain: packet.retain,
    }
}

async fn read(reader: &mut Reader) -> Result<Received, BrokerError> {
    match reader.next().await {
        Some(received) => received.map_err(unavailable),
        None => Err(BrokerError::Unavailable(
            "EMQX closed the connection".to_owned(),
        )),
    }
}

async fn write(
    writer: &mut Writer,
    packet: std::io::Result<bytes::BytesMut>,
) -> Result<(), BrokerError> {
    let packet = packet.map_err(unavailable)?;
    let written = tokio::time::timeout(WRITE_TIMEOUT, writer.write_all(&packet)).await;
    written
        .map_err(|_| BrokerError::Unavailable("EMQX does not read".to_owned()))?
        .map_err(unavailable)
}

fn unavailable(error: std::io::Error) -> BrokerError {
    BrokerError::Unavailable(error.to_string())
}

fn no_broker() -> BrokerError {
    BrokerError::Unavailable("what answers at OPENFLOW_MQTT_URL is no MQTT 5 broker".to_owned())
}
