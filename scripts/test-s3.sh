#!/usr/bin/env bash
# Starts (or finds) the S3 server of the tests, moto in a Python environment of its own under build/, and prints its
# address as the only line on standard output. What it holds is in memory. `stop` ends it.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/build/s3
dir=${TMPDIR:-/tmp}/openflow-test-s3-$(pwd | sha256sum | cut -c1-12)
mkdir -p "$dir" build

if [ "${1:-}" = stop ]; then
  [ ! -e "$dir/pid" ] || kill "$(cat "$dir/pid")" 2>/dev/null || true
  rm -rf "$dir"
  exit 0
fi

# One at a time: several test programs may ask at once.
exec 9>"$dir/lock"
flock 9

answers() { [ -n "$url" ] && curl --silent --fail --max-time 5 --output /dev/null "$url/moto-api/data.json"; }
url=$(cat "$dir/url" 2>/dev/null || true)
if ! answers; then
  # Whole or not at all: an interrupted installation is made anew.
  if [ ! -e "$venv/made" ]; then
    rm -rf "$venv"
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check 'moto[s3]==5.2.5' flask flask-cors; } >&2 ||
      { echo "Cannot install the Python package moto: is there python3-venv, and a way to PyPI?" >&2; exit 1; }
    touch "$venv/made"
  fi
  [ ! -e "$dir/pid" ] || kill "$(cat "$dir/pid")" 2>/dev/null || true
  setsid "$venv/bin/moto_server" -H 127.0.0.1 -p 0 >"$dir/log" 2>&1 </dev/null 9>&- &
  echo $! >"$dir/pid"
  for _ in $(seq 300); do
    url=$(sed -n 's/.*Running on \(http:[^ ]*\).*/\1/p' "$dir/log" | head -1)
    ! answers || break
    sleep 0.1
  done
  answers || { cat "$dir/log" >&2; exit 1; }
  echo "$url" >"$dir/url"
fi
echo "$url"
