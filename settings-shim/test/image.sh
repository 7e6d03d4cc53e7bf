#!/usr/bin/env bash
# The built image under the limits that the manager sets: starts, signs in, deploys, survives a restart, runs as any user.
#   settings-shim/test/image.sh [image]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../scripts/lib.sh
. "$here/../../scripts/lib.sh"
image=${1:-openflow/node-red:5}
need docker curl
magic=omt_image-test-0123456789abcdef
name=openflow-image-test-$$
network=$name
work=$(mktemp -d)
cleanup() {
  docker rm -f "$name" >/dev/null 2>&1 || true
  docker network rm "$network" >/dev/null 2>&1 || true
  as_root rm -rf "$work"
}
trap cleanup EXIT
docker network create -o com.docker.network.bridge.enable_icc=false "$network" >/dev/null

# start UID [docker options…]: the container as the manager starts it. Sets $base.
start() {
  local uid=$1
  shift
  mkdir -p "$work/$uid"
  as_root chown "$uid:$uid" "$work/$uid"
  docker rm -f "$name" >/dev/null 2>&1 || true
  docker run --detach --name "$name" --hostname nodered-test --network "$network" --add-host host.docker.internal:host-gateway \
    --memory 256m --memory-swap 256m --cpus 1 --pids-limit 128 --cap-drop ALL --security-opt no-new-privileges \
    --read-only --tmpfs /tmp:rw,nosuid,nodev,noexec,size=64m --user "$uid:$uid" --stop-timeout 10 \
    --log-driver json-file --log-opt max-size=5m --log-opt max-file=2 --volume "$work/$uid:/data" \
    --env OPENFLOW_MAGIC_TOKEN=$magic --env OPENFLOW_CREDENTIAL_SECRET=ocs_image-test-0123456789 \
    --env OPENFLOW_INSTANCE_ID=0198f0a0-0000-7000-8000-00000000000b --env OPENFLOW_SUBDOMAIN=test --env OPENFLOW_NAME=Test \
    --env OPENFLOW_URL=http://test.localhost --env NODE_OPTIONS=--max-old-space-size=160 "$@" "$image" >/dev/null
  find_base
}
find_base() { base=http://$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$name"):1880; }
health() { curl --silent --fail --max-time 5 "$base/openflow/health"; }
flows_run() { [ "$(health)" = '{"ok":true,"flows":true}' ]; }
admin() { curl --silent --show-error --max-time 30 --header "Authorization: Bearer $magic" --header 'Content-Type: application/json' "$@"; }
expect() { # WHAT EXPECTED ACTUAL
  if [ "$2" = "$3" ]; then say "ok: $1"; else docker logs "$name" >&2; die "$1: expected '$2', got '$3'"; fi
}

flow='[{"id":"t","type":"tab","label":"T"},
  {"id":"i","type":"http in","z":"t","x":1,"y":1,"url":"/who","method":"get","wires":[["e"]]},
  {"id":"e","type":"exec","z":"t","x":1,"y":1,"command":"id -u; env | grep -c MAGIC; touch /x 2>&1; true","addpay":"","append":"","useSpawn":"false","timer":"5","wires":[["o"],[],[]]},
  {"id":"o","type":"http response","z":"t","x":1,"y":1,"wires":[]}]'
who() { curl --silent --max-time 10 "$base/api/who"; }

for uid in 1000 61234; do
  step "As uid $uid"
  start $uid
  wait_for 60 "flows to run" flows_run || { docker logs "$name" >&2; die "the flows did not start"; }
  expect "nobody is refused" 401 "$(curl --silent --output /dev/null --write-out '%{http_code}' "$base/flows")"
  expect "a deploy" 204 "$(admin --output /dev/null --write-out '%{http_code}' --data "$flow" "$base/flows")"
  expect "a flow runs as uid $uid, sees no secret, cannot write outside /data" "$uid 0 touch: /x: Read-only file system" "$(who | tr '\n' ' ' | sed "s/cannot touch '\(.*\)'/\1/; s/ $//")"
  admin --header 'Accept: application/json' "$base/nodes" >"$work/nodes"
  expect "every one of Node-RED's own nodes loads" 'yes 0' "$(grep -q '"node-red/httprequest"' "$work/nodes" && echo yes) $(grep -o '"err"' "$work/nodes" | wc -l)"
  expect "npm runs" 0 "$(docker exec "$name" npm --version >/dev/null && echo $?)"

  docker stop "$name" >/dev/null
  expect "it stops by itself when told" 0 "$(docker inspect --format '{{.State.ExitCode}}' "$name")"
  docker start "$name" >/dev/null
  find_base
  wait_for 60 "flows to run again" flows_run || die "the flows did not start again"
  expect "the flow is there after a restart" "$uid" "$(who | head -1)"
done

step "In safe mode"
start 1000 --env OPENFLOW_SAFE_MODE=true
wait_for 60 "the editor" health || die "the editor did not start"
expect "the editor is up, flows are not" '{"ok":true,"flows":false}' "$(health)"
expect "its state" '{"state":"safe"}' "$(admin "$base/flows/state")"

step "The rehearsal of a restore"
docker rm -f "$name" >/dev/null
rehearse() { # SECRET [docker options…]
  local secret=$1
  shift
  docker run --rm --network none --memory 256m --memory-swap 256m --cpus 1 --pids-limit 128 --cap-drop ALL \
    --security-opt no-new-privileges --read-only --tmpfs /tmp:rw,nosuid,nodev,noexec,size=64m --user 1000:1000 --volume "$work/1000:/data" \
    --env OPENFLOW_MAGIC_TOKEN=$magic --env OPENFLOW_CREDENTIAL_SECRET="$secret" --env OPENFLOW_INSTANCE_ID=0198f0a0-0000-7000-8000-00000000000b \
    --env NODE_OPTIONS=--max-old-space-size=160 "$@" "$image" node /opt/openflow/node-red/rehearse.js 2>"$work/rehearsal" | tail -n 1
}
verdict=$(rehearse ocs_image-test-0123456789) || { cat "$work/rehearsal" >&2; die "a sound folder does not pass: $verdict"; }
expect "a sound folder passes without network" 1 "$(grep -c '^{"ok":true,"checks":\[' <<<"$verdict")"
expect "an instance that does not start fails" failed "$(rehearse ocs_image-test-0123456789 --env OPENFLOW_MAGIC_TOKEN= >/dev/null || echo failed)"

step "When memory runs out"
start 1000
wait_for 60 "flows to run" flows_run || die "the flows did not start"
leak='[{"id":"t","type":"tab","label":"T"},{"id":"i","type":"inject","z":"t","x":1,"y":1,"props":[],"repeat":"","once":true,"onceDelay":"0.1","wires":[["f"]]},
  {"id":"f","type":"function","z":"t","x":1,"y":1,"func":"const a = []; for (;;) a.push({ text: String(Math.random()) });","wires":[]}]'
admin --output /dev/null --data "$leak" "$base/flows" || true
stopped() { [ "$(docker inspect --format '{{.State.Running}}' "$name")" = false ]; }
wait_for 120 "the container to end" stopped || die "the leak did not end the container"
expect "it ends readably (134), not killed by the kernel" '134 false' "$(docker inspect --format '{{.State.ExitCode}} {{.State.OOMKilled}}' "$name")"
step "All is well with $image"
