#!/usr/bin/env bash
# Starts (or finds) the throw-away PostgreSQL of the tests and prints its DATABASE_URL as the only line on standard
# output. Its own cluster under build/, socket only, durability off. `stop` ends it.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || { echo "No PostgreSQL server binaries in /usr/lib/postgresql: run 'make install'." >&2; exit 1; }
# The path of a socket is limited to some 100 bytes, so it does not stand below the checkout.
key=$(pwd | sha256sum | cut -c1-12)
dir=${TMPDIR:-/tmp}/openflow-test-postgres-$key
url="postgres://openflow@localhost/openflow?host=$dir"

as_owner() { "$@"; }
if [ "$(id -u)" = 0 ]; then
  # PostgreSQL refuses to run as root.
  owner=$(id -u postgres >/dev/null 2>&1 && echo postgres || echo nobody)
  as_owner() { setpriv --reuid="$owner" --regid="$(id -g "$owner")" --clear-groups -- "$@"; }
fi

if [ "${1:-}" = stop ]; then
  [ ! -d "$dir/data" ] || as_owner "$bin/pg_ctl" -D "$dir/data" -m immediate stop >&2 || true
  exit 0
fi

if ! as_owner "$bin/pg_isready" -q -h "$dir" -U openflow -d openflow 2>/dev/null; then
  # A killed server's cluster was made without durability, so it is made anew rather than trusted.
  rm -rf "$dir"
  mkdir -p "$dir"
  [ "$(id -u)" != 0 ] || chown "$owner" "$dir"
  as_owner "$bin/initdb" -D "$dir/data" -U openflow -A trust -N --locale=C.UTF-8 -E UTF8 >"$dir.log" 2>&1 ||
    { cat "$dir.log" >&2; exit 1; }
  as_owner "$bin/pg_ctl" -D "$dir/data" -w -t 30 -l "$dir/log" start \
    -o "-k $dir -c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300" \
    >&2 </dev/null || { cat "$dir/log" >&2; exit 1; }
  as_owner "$bin/createdb" -h "$dir" -U openflow openflow
fi
echo "$url"
