#!/usr/bin/env bash
# The real nginx in front of real Node-RED containers, and in front of a stand-in for openflow-proxy.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../scripts/lib.sh"
need nginx node docker openssl
"$here/../images/build.sh" node-red
exec node --test --test-timeout=300000 "$here"/test/*.test.js
