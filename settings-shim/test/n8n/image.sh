#!/usr/bin/env bash
# The built n8n image under the limits that the manager sets: starts, signs in, runs workflows, survives a restart, runs as
# any user, says why it cannot start.
#   settings-shim/test/n8n/image.sh [image]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../../scripts/lib.sh
. "$here/../../../scripts/lib.sh"
image=${1:-openflow/n8n:2}
need docker curl
magic=omt_image-test-0123456789abcdef
key='image-test-encryption-key-0123456789'
name=openflow-n8n-image-test-$$
network=$name
work=$(mktemp -d)
cleanup() {
  docker rm -f "$name" >/dev/null 2>&1 || true
  docker network rm "$network" >/dev/null 2>&1 || true
  as_root rm -rf "$work"
}
trap cleanup EXIT
docker network create -o com.docker.network.bridge.enable_icc=false "$network" >/dev/null

# limits UID MEMORY_MB: what the manager gives a container. 64 MB in /tmp: 18 are n8n's own, the rest is for uploads.
limits() {
  local uid=$1 memory=$2
  echo --memory "${memory}m" --memory-swap "${memory}m" --cpus 1 --pids-limit 256 --cap-drop ALL --security-opt no-new-privileges \
    --read-only --tmpfs /tmp:rw,nosuid,nodev,noexec,size=64m --user "$uid:$uid" --stop-timeout 30 \
    --volume "$work/$uid/data:/data" --volume "$work/$uid/secrets:/run/openflow:ro" --env OPENFLOW_MEMORY_MB="$memory" \
    --env OPENFLOW_MAGIC_TOKEN=$magic --env OPENFLOW_INSTANCE_ID=0198f0a0-0000-7000-8000-00000000000b \
    --env OPENFLOW_SUBDOMAIN=test --env OPENFLOW_NAME=Test --env OPENFLOW_URL=http://test.localhost
}
prepare() { # UID KEY
  as_root mkdir -p "$work/$1/data" "$work/$1/secrets"
  as_root rm -f "$work/$1/secrets/encryption_key"
  printf %s "$2" | as_root tee "$work/$1/secrets/encryption_key" >/dev/null
  as_root chmod 400 "$work/$1/secrets/encryption_key"
  as_root chown -R "$1:$1" "$work/$1"
}
start() { # UID MEMORY_MB [docker options…]. Sets $base.
  local options
  read -ra options <<<"$(limits "$1" "$2")"
  shift 2
  docker rm -f "$name" >/dev/null 2>&1 || true
  docker run --detach --name "$name" --hostname n8n-test --network "$network" --add-host host.docker.internal:host-gateway \
    --log-driver json-file --log-opt max-size=5m --log-opt max-file=2 "${options[@]}" "$@" "$image" >/dev/null
  find_base
}
find_base() { base=http://$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$name"):5678; }
is_up() { [ "$(curl --silent --fail --max-time 5 "$base/openflow/health")" = '{"ok":true,"flows":true}' ]; }
status() { curl --silent --output /dev/null --max-time 30 --write-out '%{http_code}' "$@"; }
admin() { curl --silent --show-error --max-time 60 --header "Authorization: Bearer $magic" --header 'Content-Type: application/json' "$@"; }
expect() { # WHAT EXPECTED ACTUAL
  if [ "$2" = "$3" ]; then say "ok: $1"; else docker logs "$name" >&2; die "$1: expected '$2', got '$3'"; fi
}
wait_until_up() { wait_for 180 "n8n to be ready" is_up || { docker logs "$name" >&2; die "n8n did not get ready"; }; }
wait_until_ended() {
  ended() { [ "$(docker inspect --format '{{.State.Running}}' "$name")" = false ]; }
  wait_for 120 "the container to end" ended || { docker logs "$name" >&2; die "it did not end"; }
}

# publish NAME CODE: a webhook that answers with what the Code node makes.
publish() {
  local made
  made=$(admin --data '{"name":"'"$1"'","settings":{},"nodes":[
    {"id":"'"$1"'1","name":"In","type":"n8n-nodes-base.webhook","typeVersion":2,"position":[0,0],"webhookId":"'"$1"'","parameters":{"path":"'"$1"'","responseMode":"lastNode","options":{}}},
    {"id":"'"$1"'2","name":"Code","type":"n8n-nodes-base.code","typeVersion":2,"position":[200,0],"parameters":{"jsCode":"'"$2"'"}}],
    "connections":{"In":{"main":[[{"node":"Code","type":"main","index":0}]]}}}' "$base/rest/workflows")
  admin --output /dev/null --data '{"versionId":"'"$(field versionId <<<"$made")"'"}' "$base/rest/workflows/$(field id <<<"$made")/activate"
}
field() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d'"' -f4; }
answers() { [ "$(status "$base/webhook/$1")" = 200 ]; }

step "As uid 1000"
prepare 1000 $key
start 1000 768
wait_until_up
expect "nobody is refused" 401 "$(status "$base/rest/workflows")"
expect "the page leads to nobody's sign-in form" 401 "$(status --header 'Accept: text/html' "$base/signin")"
publish six 'return [{json: {six: 2 * 3, env: typeof process}}];'
wait_for 60 "the workflow to be active" answers six || die "the webhook does not answer"
expect "a Code node runs" '{"six":6,' "$(curl --silent --max-time 30 "$base/webhook/six" | head -c 9)"
expect "the encryption key is in no setting of the container" 0 "$(docker inspect "$name" | grep -c "$key")"
expect "only its folder is in /data" '.n8n' "$(docker exec "$name" ls -A /data | tr '\n' ' ' | sed 's/ $//')"
expect "npm runs" 0 "$(docker exec "$name" npm --version >/dev/null && echo $?)"
docker stop "$name" >/dev/null
expect "it stops by itself when told" 0 "$(docker inspect --format '{{.State.ExitCode}}' "$name")"
docker start "$name" >/dev/null
find_base
wait_until_up
expect "the workflow answers after a restart" 200 "$(status "$base/webhook/six")"

step "A Code node that takes all memory"
publish leak 'const a = []; for (;;) a.push({ text: String(Math.random()) });'
active() { admin "$base/openflow/content" | grep -q '"leak"'; }
wait_for 60 "the workflow to be there" active || die "the workflow is not there"
curl --silent --output /dev/null --max-time 60 "$base/webhook/leak" || true
expect "ends its runner, not the instance" 'true false' "$(docker inspect --format '{{.State.Running}} {{.State.OOMKilled}}' "$name")"
wait_for 60 "a new runner" answers six || die "Code nodes do not run any more"

step "The rehearsal of a restore"
docker rm -f "$name" >/dev/null
rehearse() {
  local options
  read -ra options <<<"$(limits 1000 768)"
  docker run --rm --network none "${options[@]}" "$image" node /opt/openflow/n8n/rehearse.js 2>"$work/rehearsal" | tail -n 1
}
verdict=$(rehearse) || { cat "$work/rehearsal" >&2; die "a sound folder does not pass: $verdict"; }
expect "a sound folder passes without network" 1 "$(grep -c '^{"ok":true,"checks":\[' <<<"$verdict")"

step "What it says when it cannot start"
prepare 1000 another-encryption-key-0123456789
start 1000 768
wait_until_ended
expect "another encryption key" '78 openflow: The encryption key of this instance is not the one that' \
  "$(docker inspect --format '{{.State.ExitCode}}' "$name") $(docker logs "$name" 2>&1 | tail -n 1 | cut -d" " -f1-12)"
prepare 1000 $key
start 1000 512
wait_until_ended
expect "too little memory" '78 openflow: n8n needs at least 640 MB' \
  "$(docker inspect --format '{{.State.ExitCode}}' "$name") $(docker logs "$name" 2>&1 | tail -n 1 | cut -d' ' -f1-7)"

step "As uid 61234, with the least memory"
prepare 61234 $key
start 61234 640
wait_until_up
publish seven 'return [{json: {seven: 7}}];'
wait_for 60 "the workflow to be active" answers seven || die "the webhook does not answer"
expect "not ended for its memory" 'true false' "$(docker inspect --format '{{.State.Running}} {{.State.OOMKilled}}' "$name")"
step "All is well with $image"
