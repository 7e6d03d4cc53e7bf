#!/usr/bin/env bash
# CPU time per request of openflow-proxy against a tuned nginx: the same upstream
# (nginx, 1 kB), 64 keep-alive connections, one core each, interleaved rounds.
# CPU time per request is steadier than requests per second on a shared machine.
#
#   bench/proxy.sh [path of openflow-proxy]
#   ROUNDS=5 SECONDS_EACH=5 CONNECTIONS=64 bench/proxy.sh
#
# Needs nginx and wrk. Prints one line per round and the medians with their
# ratios to nginx.
set -euo pipefail

proxy=${1:-target/release/openflow-proxy}
rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-5} connections=${CONNECTIONS:-64}
base=${BASE_PORT:-28100}
upstream_port=$base nginx_port=$((base + 1)) one_port=$((base + 2)) many_port=$((base + 3))
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
pids=()

for tool in nginx wrk; do
    command -v "$tool" >/dev/null || { echo "$tool is needed: apt install $tool" >&2; exit 1; }
done
[ -x "$proxy" ] || { echo "$proxy is missing: cargo build --release -p openflow-proxy" >&2; exit 1; }

stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

# start_nginx <name> <port> <body of the server block> [http settings]
start_nginx() {
    local folder=$work/$1
    mkdir -p "$folder"
    cat >"$folder/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $folder/pid;
error_log $folder/error.log;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 60s;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    ${4:-}
    server { listen 127.0.0.1:$2 reuseport; $3 }
}
CONF
    nginx -p "$folder" -c "$folder/nginx.conf" &
    pids+=($!)
}

# start_proxy <port> <routes>
start_proxy() {
    "$here/routes.sh" "$2" "127.0.0.1:$upstream_port" >"$work/routes-$2.json"
    OPENFLOW_LOG=warn "$proxy" --listen "127.0.0.1:$1" --routes "$work/routes-$2.json" --threads 1 &
    pids+=($!)
}

# answers <port>: waits until the address answers 200 for the benchmark's request
answers() {
    for _ in $(seq 100); do
        if curl -sf -o /dev/null -H 'Host: wf1.bench.test' "http://127.0.0.1:$1/api/x"; then return; fi
        sleep 0.1
    done
    echo "port $1 does not answer" >&2
    exit 1
}

# ticks <pid>: user and system time in clock ticks, with children that live
ticks() {
    local sum=0 each
    for each in "$1" $(pgrep -P "$1" || true); do
        sum=$((sum + $(awk '{sub(/^.*\) /, ""); print $12 + $13}' "/proc/$each/stat")))
    done
    echo "$sum"
}

# measure <name> <port> <pid>: appends "name µs-per-request requests-per-second"
measure() {
    local before after requests
    before=$(ticks "$3")
    requests=$(wrk -t1 -c"$connections" -d"${seconds}s" -H 'Host: wf1.bench.test' "http://127.0.0.1:$2/api/x" |
        awk '/requests in/ {print $1} /Non-2xx/ {exit 1}')
    after=$(ticks "$3")
    awk -v name="$1" -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" -v n="$requests" -v s="$seconds" \
        'BEGIN {printf "%-22s %6.2f µs CPU/request  %7.0f requests/s\n", name, ticks / hz * 1e6 / n, n / s}' |
        tee -a "$work/results"
}

start_nginx upstream "$upstream_port" \
    "location / { default_type text/plain; return 200 '$(printf 'x%.0s' $(seq 1024))'; }"
start_nginx edge "$nginx_port" \
    "location / { proxy_pass http://instance; proxy_http_version 1.1; proxy_set_header Connection '';
       proxy_set_header Host \$http_host; proxy_set_header X-Forwarded-For \$remote_addr;
       proxy_set_header X-Forwarded-Proto \$scheme; proxy_set_header X-Forwarded-Host \$http_host; }" \
    "upstream instance { server 127.0.0.1:$upstream_port; keepalive 256; keepalive_requests 100000000; }"
nginx_pid=${pids[-1]}
start_proxy "$one_port" 1
one_pid=${pids[-1]}
start_proxy "$many_port" 1000
many_pid=${pids[-1]}
for port in "$upstream_port" "$nginx_port" "$one_port" "$many_port"; do answers "$port"; done

for round in $(seq "$rounds"); do
    echo "round $round of $rounds"
    measure nginx "$nginx_port" "$nginx_pid"
    measure openflow-1-route "$one_port" "$one_pid"
    measure openflow-1000-routes "$many_port" "$many_pid"
done

median() { awk -v name="$1" '$1 == name {print $2}' "$work/results" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
nginx_median=$(median nginx)
echo "medians"
for name in nginx openflow-1-route openflow-1000-routes; do
    awk -v name="$name" -v own="$(median "$name")" -v nginx="$nginx_median" \
        'BEGIN {printf "%-22s %6.2f µs CPU/request  ×%.2f of nginx\n", name, own, own / nginx}'
done
