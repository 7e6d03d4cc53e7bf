# The built-in broker by itself, with three tenants. Sourced by scripts/mqtt-interop.sh and scripts/test-mqtt-clients.sh,
# after scripts/lib.sh. Starts nothing on loading.
# shellcheck shell=bash disable=SC2034

# Whoever connects without a name is in the first; the second and third are for clients with credentials.
flat_tenant=00000000-0000-4000-8000-000000000001
own_tenant=00000000-0000-4000-8000-000000000002
other_tenant=00000000-0000-4000-8000-000000000003
own_user=00000000-0000-4000-8000-0000000000a2
ruled_user=00000000-0000-4000-8000-0000000000b2
other_user=00000000-0000-4000-8000-0000000000a3

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# start_broker FOLDER: builds and starts it with all of its files in FOLDER; sets port, websocket_port, broker_pid,
# own_password, ruled_password and other_password.
start_broker() {
  local folder=$1
  port=$(free_port) websocket_port=$(free_port)
  own_password=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
  ruled_password=$own_password-ruled other_password=$own_password-other
  if [ -z "${OPENFLOW_BROKER_BIN:-}" ]; then
    step "Building the built-in broker"
    SQLX_OFFLINE=true cargo build --quiet --locked -p openflow-broker --example stand_alone
    OPENFLOW_BROKER_BIN=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/examples/stand_alone
  fi
  cat >"$folder/users" <<USERS
$own_user $own_password $own_tenant
$other_user $other_password $other_tenant
$ruled_user $ruled_password $own_tenant * TopicA/#
USERS
  "$OPENFLOW_BROKER_BIN" --tcp "127.0.0.1:$port" --websocket "127.0.0.1:$websocket_port" --dir "$folder/data" \
    --users "$folder/users" --anonymous-tenant "$flat_tenant" >"$folder/broker.log" 2>&1 &
  broker_pid=$!
  wait_for 30 "the broker" port_answers "$port" || { cat "$folder/broker.log" >&2; die "the broker does not listen"; }
}
