#!/usr/bin/env bash
# Everyday MQTT clients (Paho for Python, mosquitto_pub and mosquitto_sub) against the built-in broker, in every pairing:
# versions 3.1.1 and 5, QoS 0 to 2, retained messages, wills, sessions, shared subscriptions, WebSocket; while a client of
# another project listens to everything and is to hear nothing. Half a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. broker/interop/lib.sh

need mosquitto_pub mosquitto_sub
# Debian's package is for Debian's Python, which may not be the first one in PATH.
python=
for candidate in python3 /usr/bin/python3; do
  if "$candidate" -c 'import paho.mqtt.client' 2>/dev/null; then python=$candidate; break; fi
done
[ -n "$python" ] || die "the Python library paho-mqtt is missing (Debian: apt-get install python3-paho-mqtt)"

folder=$(mktemp -d)
end() {
  [ -z "${broker_pid:-}" ] || kill "$broker_pid" 2>/dev/null || true
  rm -rf "$folder"
}
trap end EXIT
start_broker "$folder"
MQTT_PASSWORD=$own_password MQTT_OTHER_PASSWORD=$other_password timeout 300 \
  "$python" broker/interop/clients.py 127.0.0.1 "$port" "$own_user" --other "$other_user" --websocket "$websocket_port"
