//! Counters of one worker thread, written without contention and added up when
//! somebody asks.
use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestClass {
    Dashboard,
    Editor,
    Webhook,
    /// Refused before its destination was known.
    Other,
}

const CLASSES: [&str; 4] = ["dashboard", "editor", "webhook", "other"];
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const BUCKETS_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Default)]
pub(crate) struct Metrics {
    requests: [[AtomicU64; STATUSES.len()]; CLASSES.len()],
    latency: [AtomicU64; BUCKETS_SECONDS.len() + 1],
    latency_micros: AtomicU64,
    connections: AtomicI64,
    connections_refused: AtomicU64,
    tunnels: AtomicI64,
}

impl Metrics {
    /// Counts an answer whose head took `latency`.
    pub(crate) fn answered(&self, class: RequestClass, status: u16, latency: Duration) {
        let status = usize::from(status / 100).clamp(1, STATUSES.len()) - 1;
        if let Some(counter) = self
            .requests
            .get(class as usize)
            .and_then(|row| row.get(status))
        {
            counter.fetch_add(1, Relaxed);
        }
        let seconds = latency.as_secs_f64();
        let bucket = BUCKETS_SECONDS
            .iter()
            .take_while(|&&bound| bound < seconds)
            .count();
        if let Some(counter) = self.latency.get(bucket) {
            counter.fetch_add(1, Relaxed);
        }
        self.latency_micros
            .fetch_add(latency.as_micros() as u64, Relaxed);
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    pub(crate) fn connection_refused(&self) {
        self.connections_refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn tunnel_opened(&self) {
        self.tunnels.fetch_add(1, Relaxed);
    }

    pub(crate) fn tunnel_closed(&self) {
        self.tunnels.fetch_sub(1, Relaxed);
    }
}

/// All workers' counters in the Prometheus text format.
pub(crate) fn render(workers: &[Arc<Metrics>], feed_age: Option<Duration>) -> String {
    let sum =
        |pick: &dyn Fn(&Metrics) -> u64| workers.iter().map(|worker| pick(worker)).sum::<u64>();
    let gauge =
        |pick: &dyn Fn(&Metrics) -> i64| workers.iter().map(|worker| pick(worker)).sum::<i64>();
    let mut text = String::with_capacity(4096);
    // Writing to a string does not fail.
    let _ = writeln!(text, "# TYPE openflow_proxy_requests_total counter");
    for (class, class_name) in CLASSES.iter().enumerate() {
        for (status, status_name) in STATUSES.iter().enumerate() {
            let count = sum(&|worker| worker.requests[class][status].load(Relaxed));
            let _ = writeln!(
                text,
                "openflow_proxy_requests_total{{class=\"{class_name}\",status=\"{status_name}\"}} {count}"
            );
        }
    }
    let _ = writeln!(
        text,
        "# TYPE openflow_proxy_response_head_seconds histogram"
    );
    let mut cumulative = 0;
    for bucket in 0..=BUCKETS_SECONDS.len() {
        cumulative += sum(&|worker| worker.latency[bucket].load(Relaxed));
        let bound = BUCKETS_SECONDS
            .get(bucket)
            .map_or("+Inf".to_owned(), f64::to_string);
        let _ = writeln!(
            text,
            "openflow_proxy_response_head_seconds_bucket{{le=\"{bound}\"}} {cumulative}"
        );
    }
    let seconds = sum(&|worker| worker.latency_micros.load(Relaxed)) as f64 / 1e6;
    let _ = writeln!(text, "openflow_proxy_response_head_seconds_sum {seconds}");
    let _ = writeln!(
        text,
        "openflow_proxy_response_head_seconds_count {cumulative}"
    );
    let connections = gauge(&|worker| worker.connections.load(Relaxed));
    let tunnels = gauge(&|worker| worker.tunnels.load(Relaxed));
    let refused = sum(&|worker| worker.connections_refused.load(Relaxed));
    let _ = writeln!(
        text,
        "# TYPE openflow_proxy_connections gauge\nopenflow_proxy_connections {connections}"
    );
    let _ = writeln!(
        text,
        "# TYPE openflow_proxy_tunnels gauge\nopenflow_proxy_tunnels {tunnels}"
    );
    let _ = writeln!(
        text,
        "# TYPE openflow_proxy_connections_refused_total counter\nopenflow_proxy_connections_refused_total {refused}"
    );
    if let Some(age) = feed_age {
        let age = age.as_secs_f64();
        let _ = writeln!(
            text,
            "# TYPE openflow_proxy_feed_age_seconds gauge\nopenflow_proxy_feed_age_seconds {age}"
        );
    }
    text
}
