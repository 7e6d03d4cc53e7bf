#!/usr/bin/env bash
# The end-to-end tests: the real program, PostgreSQL, Docker Engine, Node-RED and Chromium. OPENFLOW_TEST_BIN names the
# binary (default: target/debug/openflow). What it starts, it ends; screenshots and logs are left in build/e2e/.
set -euo pipefail
cd "$(dirname "$0")"
export OPENFLOW_TEST_BIN=${OPENFLOW_TEST_BIN:-$PWD/../target/debug/openflow}
[ -x "$OPENFLOW_TEST_BIN" ] || { echo "There is no $OPENFLOW_TEST_BIN: run 'cargo build' first." >&2; exit 1; }
[ -d node_modules/mqtt ] || npm ci --no-audit --no-fund # what was added last
npm test
