#!/usr/bin/env bash
# docker-compose.yml, with the real manager and proxy in images built here, the tests' PostgreSQL, and a listener that stands
# in for EMQX: becomes healthy, runs an instance that is kept off the host, and adopts it after a stop.
# The programs are taken from $OPENFLOW_BIN_DIR [target/debug].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh
need docker curl node psql iptables
need_root "cleaning up the firewall's rules and the instances' data"
export OPENFLOW_BIN_DIR=${OPENFLOW_BIN_DIR:-$PWD/target/debug}
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else need docker-compose; compose=(docker-compose); fi
start_seconds=180

# Nothing of the caller's, such as a DATABASE_URL for the build, may get into the files.
while IFS= read -r name; do unset "$name"; done < <(compgen -e | grep -E '^(OPENFLOW_|DATABASE_URL|COMPOSE_|EMQX_)' | grep -vE '^OPENFLOW_(BIN_DIR|BUILD_DIR|BASE_IMAGE|NODE_IMAGE)$')

id=$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
project=openflow-compose-test-$id
work=$(mktemp -d "${TMPDIR:-/tmp}/$project.XXXXXX")
chmod 755 "$work"
database=openflow_compose_$id
instance=''
env_file=$work/env

files() { "${compose[@]}" --project-name "$project" --env-file "$1" "${@:2}"; }
run() { files "$env_file" --file docker-compose.yml --file "$work/override.yml" "$@"; }
sql() { psql -X -q -h "$socket" -U openflow -d postgres "$@"; }

# Takes the rules for a network's bridge away, which the manager leaves for the next start.
open_host() {
  local program line
  for program in iptables ip6tables; do
    as_root "$program" -S 2>/dev/null | grep -F "openflow:$1:" | sed 's/^-A //; s/"//g' | while read -r line; do
      # shellcheck disable=SC2086 # the words of a rule
      as_root "$program" -D $line
    done
  done
}
bridge_of() { docker network inspect --format '{{index .Options "com.docker.network.bridge.name"}}' "$1"; }

clean_up() {
  local status=$? bridge
  set +e
  trap - EXIT
  if [ -e "$work/override.yml" ]; then
    [ "$status" -eq 0 ] || { run ps; run logs --no-color --tail 40; [ -z "$instance" ] || docker logs --tail 40 "$instance"; } >&2
    # The manager first: it would make a removed container anew.
    run rm --stop --force manager proxy emqx >/dev/null 2>&1
    docker ps -aq --filter "network=$project" | xargs -r docker rm --force >/dev/null
    run down --volumes --timeout 5 >/dev/null 2>&1
    bridge=$(bridge_of "$project" 2>/dev/null)
    [ -z "$bridge" ] || { docker network rm "$project" >/dev/null; open_host "$bridge"; }
    [ -z "${socket:-}" ] || sql -c "drop database if exists $database with (force)" >/dev/null
  fi
  [ -z "${listener:-}" ] || kill "$listener" 2>/dev/null
  as_root rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT

step "The secrets' file"
scripts/make-env.sh "$env_file" 2>/dev/null
[ "$(stat -c %a "$env_file")" = 600 ] || die "make-env.sh wrote a file that others can read"
before=$(sha256sum <"$env_file")
if scripts/make-env.sh "$env_file" 2>/dev/null; then die "make-env.sh overwrote a file"; fi
[ "$(sha256sum <"$env_file")" = "$before" ] || die "make-env.sh changed a file that was there"
mapfile -t required < <(sed -n 's/^\(OPENFLOW_[A-Z_]*\)=.*/\1/p' .env.example)
[ "$(grep -cE '^OPENFLOW_[A-Z_]+=..*' "$env_file")" = "${#required[@]}" ] || die "make-env.sh left a value empty"
if grep -E '^[^#].*=.' .env.example; then die ".env.example holds a value"; fi
[ "$(sed -n 's/^OPENFLOW_[A-Z_]*=//p' "$env_file" | sort -u | wc -l)" = "${#required[@]}" ] || die "two secrets are the same"

step "The file is refused without any one of them, and valid with all"
files "$env_file" config --quiet
files "$env_file" --profile nginx config --quiet
for name in "${required[@]}"; do
  grep -v "^$name=" "$env_file" >"$work/incomplete"
  if said=$(files "$work/incomplete" config --quiet 2>&1); then die "docker-compose.yml has a default for $name"; fi
  [[ $said == *"$name is not set. scripts/make-env.sh"* ]] || die "without $name it says only: $said"
done

step "Images"
scripts/docker.sh
OPENFLOW_VERSION='test' images/build.sh manager proxy # not "latest", which may be in use here
docker image inspect openflow/node-red:5 >/dev/null 2>&1 || images/build.sh node-red
images/base.sh

step "PostgreSQL, and ports of its own"
url=$(scripts/test-postgres.sh)
socket=${url#*host=}
sql -c "create database $database" >/dev/null
read -r manager_port proxy_port admin_port mqtt_port other_port < <(node -e '
  const servers = Array.from({ length: 5 }, () => require("net").createServer().listen(0, "127.0.0.1"));
  setTimeout(() => { console.log(servers.map((it) => it.address().port).join(" ")); servers.forEach((it) => it.close()); }, 100)')
# The engine says whether a subnet is free: neither another network's nor on the way to somewhere.
subnet=''
for _ in {1..20}; do
  subnet=10.$((200 + RANDOM % 50)).$((RANDOM % 250)).0/24
  docker network create --subnet "$subnet" "$project" >/dev/null 2>&1 && break
  subnet=''
done
[ -n "$subnet" ] || die "no free subnet was found for the instances' network"
docker network rm "$project" >/dev/null
mkdir "$work/tls" "$work/resolve" "$work/data"
cat >>"$env_file" <<ENV
OPENFLOW_VERSION=test
OPENFLOW_LISTEN=127.0.0.1:$manager_port
OPENFLOW_PROXY_LISTEN=127.0.0.1:$proxy_port
OPENFLOW_PROXY_ADMIN_LISTEN=127.0.0.1:$admin_port
OPENFLOW_MQTT_URL=mqtt://host.docker.internal:$mqtt_port
OPENFLOW_NETWORK=$project
OPENFLOW_NETWORK_SUBNET=$subnet
OPENFLOW_TLS_DIR=$work/tls
OPENFLOW_ADMIN_EMAIL=admin@example.com
OPENFLOW_ADMIN_PASSWORD=correct horse battery $id
ENV
sed -i "s#^OPENFLOW_DATA_DIR=.*#OPENFLOW_DATA_DIR=$work/data#" "$env_file"
cat >"$work/override.yml" <<YML
services:
  manager:
    environment:
      DATABASE_URL: postgres://openflow@localhost/$database?host=/run/postgresql
    volumes: ["$socket:/run/postgresql:ro", "$work/resolve:/run/systemd/resolve:ro"]
    healthcheck: {interval: 1s}
  proxy:
    healthcheck: {interval: 1s}
  emqx:
    image: openflow/base:debian
    command: [nc, -ll, -p, "$mqtt_port", -e, echo, broker]
    stop_grace_period: 1s
    healthcheck: {test: [CMD, "true"]}
    ulimits: {nofile: 1024} # the engine of a test machine may not be allowed to give more
YML

is_healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$(run ps -q "$1")")" = healthy ]; }
up() {
  run up --detach --no-deps manager proxy emqx >/dev/null 2>"$work/up.log" || { cat "$work/up.log" >&2; die "compose up failed"; }
  for service in manager proxy; do
    wait_for "$start_seconds" "$service to be healthy" is_healthy "$service" || die "$service did not become healthy"
  done
}
step "Starting manager and proxy"
up
origin=http://localhost:$proxy_port
curl -fsS "http://127.0.0.1:$manager_port/api/v1/health/ready" >"$work/ready"
# shellcheck disable=SC2016 # JavaScript
node -e '
  const { status, dependencies } = JSON.parse(require("fs").readFileSync(0));
  for (const it of ["database", "docker"]) if (dependencies[it].status !== "up") throw new Error(`${it}: ${JSON.stringify(dependencies[it])}`);
  if (status !== "ok") throw new Error(status)' <"$work/ready"
curl -fsS "$origin/api/v1/health/ready" >/dev/null
[[ $(curl -fsS "$origin/") == *'<title>Openflow'* ]] || die "the proxy does not lead to the dashboard"

step "An instance"
json() { node -pe "JSON.parse(require('fs').readFileSync(0)).$1"; }
password=$(sed -n 's/^OPENFLOW_ADMIN_PASSWORD=//p' "$env_file")
curl -fsS -D "$work/head" -H 'content-type: application/json' -d "{\"email\":\"admin@example.com\",\"password\":\"$password\"}" "$origin/api/v1/auth/login"
cookie=$(sed -n 's/^set-cookie: \([^;]*\);.*/\1/Ip' "$work/head")
api() { curl -fsS -X "$1" -H "cookie: $cookie" ${3:+-H 'content-type: application/json' -d "$3"} "$origin/api/v1$2"; }
project_id=$(api POST /projects '{"name":"Compose"}' | json id)
instance_id=$(api POST "/projects/$project_id/instances" "{\"name\":\"One\",\"subdomain\":\"compose-$id\"}" | json id)
instance=nodered-compose-$id
runs() { [ "$(api GET "/instances/$instance_id" | json status)" = running ]; }
wait_for "$start_seconds" "the instance to run" runs || die "the instance does not run: $(api GET "/instances/$instance_id")"
[ -d "$work/data/instances/$instance_id" ] || die "the instance's data is not where the file says"
launched() {
  local url
  url=$(api POST "/instances/$instance_id/launch" '{}' | json url)
  # A jar of its own for each try; the redirect sets the cookie and takes the token out of the address.
  curl -fsSL -c "$work/jar" -b "$work/jar" "$url" -o "$work/editor" && grep -qi 'node-red' "$work/editor"
}
wait_for 60 "the editor through the proxy" launched || die "the editor cannot be opened through the proxy"

step "What the instance reaches on the host"
curl -fsS "http://127.0.0.1:$manager_port/api/v1/health/ready" | grep -q '"isolation":{"status":"up"' || die "the host is not closed to instances"
node -e 'require("net").createServer((it) => it.end("open")).listen(Number(process.argv[1]), "0.0.0.0")' "$other_port" &
listener=$!
wait_for 20 "the other listener" curl -s --http0.9 "http://127.0.0.1:$other_port/" || die "the other listener does not answer"
# answer HOST PORT: what a connection from inside brings; the reason where none is made.
answer() {
  docker exec "$instance" node -e '
    const socket = require("net").connect({ host: process.argv[1], port: Number(process.argv[2]), timeout: 3000 });
    socket.on("connect", () => socket.write("GET /api/v1/health HTTP/1.0\r\n\r\n"));
    let text = "";
    socket.on("data", (data) => { text += data; });
    socket.on("timeout", () => socket.destroy(new Error("closed")));
    socket.on("error", (error) => { text ||= error.message; });
    socket.on("close", () => console.log(text.split("\r\n")[0].trim()))' "$1" "$2"
}
expect() {
  local found
  found=$(answer "$2" "$3")
  [[ $found == *"$4"* ]] || die "from an instance, $1 at $2:$3 should give '$4' and gives '$found'"
}
expect "the broker" host.docker.internal "$mqtt_port" broker
expect "the manager's API" host.docker.internal "$manager_port" "404"
expect "another program" host.docker.internal "$other_port" closed

step "Stopped and started again: the instance is adopted"
state() { docker inspect --format '{{.Id}} {{.State.StartedAt}} {{.RestartCount}}' "$instance"; }
was=$(state)
run stop >/dev/null 2>&1
! curl -fsS "$origin/" >/dev/null 2>&1 || die "the proxy still answers after the stop"
[ "$(state)" = "$was" ] || die "the instance did not outlive the stop"
up
wait_for "$start_seconds" "the instance to be known again" runs || die "the instance is not running for the new manager"
wait_for 60 "the editor through the proxy" launched || die "the editor cannot be opened after the restart"
[ "$(state)" = "$was" ] || die "the instance was restarted or made anew: $was, now $(state)"
say "all is well"
