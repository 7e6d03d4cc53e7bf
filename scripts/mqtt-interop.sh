#!/usr/bin/env bash
# Runs the Eclipse Paho interoperability tests for MQTT 3.1.1 and 5 against the built-in broker:
#   scripts/mqtt-interop.sh CHECKOUT [OPTION of broker/interop/run.py]…
# CHECKOUT is a checkout of the suites, which are not part of this repository:
#   git clone https://github.com/eclipse-paho/paho.mqtt.testing
# Each test is run three times at once: without a name, in a flat namespace; as a client of a project, while another
# project is busy on the same topics with the same client ids; and, where it makes sense, as a client that has topic
# rules. What is known to fail, and why, stands in broker/interop/expected.txt (docs/mqtt-interop.md).
# Takes about eight minutes. Ends with 1 when something else fails.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/scripts/lib.sh"
. "$here/broker/interop/lib.sh"

checkout=${1:-}
[ -f "$checkout/interoperability/client_test5.py" ] ||
  die "usage: $0 CHECKOUT, where CHECKOUT is made by: git clone https://github.com/eclipse-paho/paho.mqtt.testing"
checkout=$(realpath "$checkout")
shift
need python3
cd "$here"

folder=$(mktemp -d)
end() {
  # The neighbour ends when its input does.
  [ -z "${neighbour_input:-}" ] || exec {neighbour_input}>&-
  [ -z "${broker_pid:-}" ] || kill "$broker_pid" 2>/dev/null || true
  rm -rf "$folder"
}
trap end EXIT
start_broker "$folder"

step "A busy neighbour on the same topics"
mkfifo "$folder/neighbour"
NEIGHBOUR_PASSWORD=$other_password python3 broker/interop/neighbour.py 127.0.0.1 "$port" "$other_user" \
  <"$folder/neighbour" >"$folder/neighbour.log" 2>&1 &
neighbour_pid=$!
exec {neighbour_input}>"$folder/neighbour"

step "The suites (some eight minutes)"
status=0
python3 broker/interop/run.py "$checkout" --expected broker/interop/expected.txt "$@" \
  --target "flat=127.0.0.1:$port" --target "tenant=127.0.0.1:$port,$own_user,$own_password" || status=$?

step "As a client that may not subscribe to test/nosubscribe"
python3 broker/interop/run.py "$checkout" --expected broker/interop/expected.txt --only test_subscribe_failure \
  --target "ruled=127.0.0.1:$port,$ruled_user,$ruled_password" || status=$?

exec {neighbour_input}>&-
neighbour_input=
wait "$neighbour_pid" || status=1
cat "$folder/neighbour.log"
kill -0 "$broker_pid" || { warn "the broker has ended"; status=1; }
exit "$status"
