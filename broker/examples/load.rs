//! A load of MQTT 3.1.1 clients for `bench/mqtt.sh`: raw packets over TCP, so
//! that the client costs little beside the broker.
//!
//!   load storm   ADDRESS CLIENTS CONCURRENCY           connects, all kept
//!   load idle    ADDRESS CLIENTS PID                   memory of PID for each connection with one subscription
//!   load pairs   ADDRESS PAIRS QOS MESSAGES            each publisher to one subscriber; QoS 1 with 50 under way
//!   load fan-out ADDRESS SUBSCRIBERS MESSAGES          one publisher to all, QoS 0
//!   load beside  ADDRESS MESSAGES FLOODERS             round trips of one tenant while another floods
//!
//! User names and passwords are `MQTT_USER`, `MQTT_PASSWORD` (for `beside` the
//! flood's are `FLOOD_USER`, `FLOOD_PASSWORD`). Prints one line of JSON.
#![expect(clippy::print_stdout, reason = "the result is what it prints")]

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

const WINDOW: usize = 50;
/// A delivery that stays away this long is lost.
const SILENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_secs(60);
const PAYLOAD: [u8; 64] = [b'x'; 64];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["storm", address, clients, concurrency] => {
            storm(address, clients.parse()?, concurrency.parse()?).await
        }
        ["idle", address, clients, pid] => idle(address, clients.parse()?, pid.parse()?).await,
        ["pairs", address, pairs, qos, messages] => {
            self::pairs(address, pairs.parse()?, qos.parse()?, messages.parse()?).await
        }
        ["fan-out", address, subscribers, messages] => {
            fan_out(address, subscribers.parse()?, messages.parse()?).await
        }
        ["beside", address, messages, flooders] => {
            beside(address, messages.parse()?, flooders.parse()?).await
        }
        _ => bail!("usage: load storm|idle|pairs|fan-out|beside …; the source tells more"),
    }
}

async fn storm(address: &str, clients: usize, concurrency: usize) -> anyhow::Result<()> {
    let gate = Arc::new(Semaphore::new(concurrency));
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    for number in 0..clients {
        let permit = Arc::clone(&gate).acquire_owned().await?;
        let address = address.to_owned();
        tasks.spawn(async move {
            let begin = Instant::now();
            let client = Client::connect(&address, "MQTT", &format!("storm-{number}")).await;
            drop(permit);
            client.map(|it| (it, begin.elapsed()))
        });
    }
    let (mut kept, mut times, mut failed) = (Vec::new(), Vec::new(), 0);
    while let Some(ended) = tasks.join_next().await {
        match ended? {
            Ok((client, time)) => {
                kept.push(client);
                times.push(time);
            }
            Err(_) => failed += 1,
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{{\"connected\":{},\"failed\":{failed},\"perSecond\":{:.0},\"p99Ms\":{:.1}}}",
        kept.len(),
        clients as f64 / seconds,
        percentile_ms(&mut times, 0.99),
    );
    Ok(())
}

async fn idle(address: &str, clients: usize, pid: u32) -> anyhow::Result<()> {
    let before = resident_kib(pid)?;
    let mut kept = Vec::new();
    for number in 0..clients {
        let mut client = Client::connect(address, "MQTT", &format!("idle-{number}")).await?;
        client.subscribe(&format!("idle/{number}"), 0).await?;
        kept.push(client);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = resident_kib(pid)?;
    println!(
        "{{\"clients\":{clients},\"beforeMib\":{:.1},\"afterMib\":{:.1},\"kibEach\":{:.2}}}",
        before as f64 / 1024.0,
        after as f64 / 1024.0,
        (after as f64 - before as f64) / clients as f64,
    );
    Ok(())
}

async fn pairs(address: &str, pairs: usize, qos: u8, messages: u64) -> anyhow::Result<()> {
    let mut subscribers = JoinSet::new();
    for number in 0..pairs {
        let mut client = Client::connect(address, "MQTT", &format!("sub-{number}")).await?;
        client.subscribe(&format!("pairs/{number}"), qos).await?;
        subscribers.spawn(client.receive(messages));
    }
    let begin = Instant::now();
    let mut publishers = JoinSet::new();
    for number in 0..pairs {
        let client = Client::connect(address, "MQTT", &format!("pub-{number}")).await?;
        publishers.spawn(client.publish(format!("pairs/{number}"), qos, messages));
    }
    report(begin, publishers, subscribers, messages * pairs as u64).await
}

async fn fan_out(address: &str, count: usize, messages: u64) -> anyhow::Result<()> {
    let mut subscribers = JoinSet::new();
    for number in 0..count {
        let mut client = Client::connect(address, "MQTT", &format!("fan-{number}")).await?;
        client.subscribe("fan", 0).await?;
        subscribers.spawn(client.receive(messages));
    }
    let begin = Instant::now();
    let mut publishers = JoinSet::new();
    let client = Client::connect(address, "MQTT", "fan").await?;
    publishers.spawn(client.publish("fan".to_owned(), 0, messages));
    report(begin, publishers, subscribers, messages * count as u64).await
}

async fn report(
    begin: Instant,
    mut publishers: JoinSet<anyhow::Result<()>>,
    mut subscribers: JoinSet<anyhow::Result<(u64, Option<Instant>)>>,
    expected: u64,
) -> anyhow::Result<()> {
    let (mut received, mut last) = (0, begin);
    while let Some(ended) = subscribers.join_next().await {
        let (count, at) = ended??;
        received += count;
        last = last.max(at.unwrap_or(begin));
    }
    while let Some(ended) = publishers.join_next().await {
        ended??;
    }
    let seconds = last.duration_since(begin).as_secs_f64().max(0.001);
    println!(
        "{{\"received\":{received},\"lostPercent\":{:.2},\"perSecond\":{:.0}}}",
        (expected - received.min(expected)) as f64 * 100.0 / expected as f64,
        received as f64 / seconds,
    );
    Ok(())
}

async fn beside(address: &str, messages: usize, flooders: usize) -> anyhow::Result<()> {
    let quiet = round_trips(address, messages).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let mut flood = JoinSet::new();
    for number in 0..flooders {
        let client = Client::connect(address, "FLOOD", &format!("flood-{number}")).await?;
        flood.spawn(client.flood(Arc::clone(&stop), Arc::clone(&sent)));
    }
    let begin = Instant::now();
    let busy = round_trips(address, messages).await?;
    let flooded = sent.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    flood.abort_all();
    println!(
        "{{\"p99MsAlone\":{quiet:.2},\"p99MsBeside\":{busy:.2},\"floodPerSecond\":{flooded:.0}}}"
    );
    Ok(())
}

/// The 99th percentile of publish → delivery to oneself, in ms.
async fn round_trips(address: &str, messages: usize) -> anyhow::Result<f64> {
    let mut client = Client::connect(address, "MQTT", "echo").await?;
    client.subscribe("echo", 0).await?;
    let mut times = Vec::with_capacity(messages);
    for _ in 0..messages {
        let begin = Instant::now();
        client.writer.write_all(&publish("echo", 0, 0)).await?;
        client.writer.flush().await?;
        while timeout(STEP, client.packet()).await??.0 >> 4 != 3 {}
        times.push(begin.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(percentile_ms(&mut times, 0.99))
}

struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: BufWriter<OwnedWriteHalf>,
}

impl Client {
    /// `whose` is the prefix of the variables with user name and password.
    async fn connect(address: &str, whose: &str, client_id: &str) -> anyhow::Result<Self> {
        let username = env::var(format!("{whose}_USER")).unwrap_or_default();
        let password = env::var(format!("{whose}_PASSWORD")).unwrap_or_default();
        let stream = timeout(STEP, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let mut client = Self {
            reader: BufReader::with_capacity(4096, reader),
            writer: BufWriter::with_capacity(4096, writer),
        };
        // MQTT 3.1.1, clean session, user name and password, no keep-alive.
        let mut body = b"\x00\x04MQTT\x04\xc2\x00\x00".to_vec();
        for field in [client_id, &username, &password] {
            push_text(&mut body, field);
        }
        client.send(0x10, &body).await?;
        let (_, answer) = timeout(STEP, client.packet()).await??;
        ensure!(answer.get(1) == Some(&0), "refused: {answer:?}");
        Ok(client)
    }

    async fn subscribe(&mut self, filter: &str, qos: u8) -> anyhow::Result<()> {
        let mut body = vec![0, 1];
        push_text(&mut body, filter);
        body.push(qos);
        self.send(0x82, &body).await?;
        let (kind, _) = timeout(STEP, self.packet()).await??;
        ensure!(kind == 0x90, "no SUBACK but {kind:#x}");
        Ok(())
    }

    async fn send(&mut self, kind: u8, body: &[u8]) -> anyhow::Result<()> {
        self.writer.write_all(&packet(kind, body)).await?;
        Ok(self.writer.flush().await?)
    }

    /// Until all came or nothing comes any more: how many, and when the last.
    async fn receive(mut self, messages: u64) -> anyhow::Result<(u64, Option<Instant>)> {
        let (mut count, mut last) = (0, None);
        while count < messages {
            let limit = if last.is_some() { SILENCE } else { STEP };
            let Ok(packet) = timeout(limit, self.packet()).await else {
                break;
            };
            let (kind, body) = packet?;
            if kind >> 4 != 3 {
                continue;
            }
            count += 1;
            last = Some(Instant::now());
            if kind & 0b110 != 0 {
                let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                self.writer
                    .write_all(&packet_of_id(0x40, &body[at..at + 2]))
                    .await?;
                if self.reader.buffer().is_empty() || count == messages {
                    self.writer.flush().await?;
                }
            }
        }
        Ok((count, last))
    }

    async fn publish(mut self, topic: String, qos: u8, messages: u64) -> anyhow::Result<()> {
        let gate = Arc::new(Semaphore::new(WINDOW));
        let (mut reader, acknowledged) = (self.reader, Arc::clone(&gate));
        let acks = tokio::spawn(async move {
            while let Ok((kind, _)) = read_packet(&mut reader).await {
                if kind == 0x40 {
                    acknowledged.add_permits(1);
                }
            }
        });
        for number in 0..messages {
            if qos == 1 {
                if gate.available_permits() == 0 {
                    self.writer.flush().await?;
                }
                timeout(STEP, gate.acquire()).await??.forget();
            }
            let id = (number % 65_535) as u16 + 1;
            self.writer.write_all(&publish(&topic, qos, id)).await?;
        }
        self.writer.flush().await?;
        if qos == 1 {
            let _all = timeout(STEP, gate.acquire_many(WINDOW as u32)).await??;
        }
        // The broker has to read all of it before the connection goes.
        tokio::time::sleep(Duration::from_secs(1)).await;
        acks.abort();
        Ok(())
    }

    async fn flood(mut self, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) {
        let message = publish("flood", 0, 0);
        while !stop.load(Ordering::Relaxed) && self.writer.write_all(&message).await.is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn packet(&mut self) -> anyhow::Result<(u8, Vec<u8>)> {
        read_packet(&mut self.reader).await
    }
}

async fn read_packet(reader: &mut BufReader<OwnedReadHalf>) -> anyhow::Result<(u8, Vec<u8>)> {
    let kind = reader.read_u8().await?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = reader.read_u8().await?;
        length |= usize::from(byte & 127) << shift;
        if byte & 128 == 0 {
            break;
        }
        shift += 7;
        ensure!(shift <= 21, "a packet without end");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    Ok((kind, body))
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut length = body.len();
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        packet.push(if length == 0 { byte } else { byte | 128 });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

fn packet_of_id(kind: u8, id: &[u8]) -> Vec<u8> {
    packet(kind, id)
}

fn publish(topic: &str, qos: u8, id: u16) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + PAYLOAD.len() + 4);
    push_text(&mut body, topic);
    if 0 < qos {
        body.extend_from_slice(&id.to_be_bytes());
    }
    body.extend_from_slice(&PAYLOAD);
    packet(0x30 | qos << 1, &body)
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&(text.len() as u16).to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

fn percentile_ms(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    let at = (times.len() as f64 * part) as usize;
    times
        .get(at.min(times.len().saturating_sub(1)))
        .map_or(0.0, |it| it.as_secs_f64() * 1e3)
}

fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let number = line.and_then(|it| it.split_whitespace().next());
    Ok(number.context("no VmRSS")?.parse()?)
}
