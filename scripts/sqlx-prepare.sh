#!/usr/bin/env bash
# Brings the test PostgreSQL's `openflow` database to the migrations and writes `.sqlx/`, what the query macros need to
# compile without a database. `--check` fails when the committed folder differs; `--schema` only loads the schema and
# prints the environment for a shell: eval "$(scripts/sqlx-prepare.sh --schema)".
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-write}

url=$(scripts/test-postgres.sh 2>/dev/null)
socket=${url#*host=}
sql() { PGOPTIONS='-c client_min_messages=warning' psql -X -q -v ON_ERROR_STOP=1 -h "$socket" -U openflow "$@"; }
sql -d postgres -c 'drop database if exists openflow with (force)' -c 'create database openflow'
for file in migrations/*.sql; do sql -d openflow -1 -f "$file" >/dev/null; done

if [ "$mode" = --schema ]; then
  echo "export DATABASE_URL='$url' SQLX_OFFLINE_DIR='$PWD/.sqlx'"
  exit 0
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
touch manager/src/lib.rs # the macros write only when they run
DATABASE_URL=$url SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$out cargo check --quiet -p openflow-manager --lib
if [ "$mode" = --check ]; then
  diff -rq .sqlx "$out" || { echo "The folder .sqlx is not current: run 'make sqlx' and commit it." >&2; exit 1; }
else
  rm -rf .sqlx
  cp -r "$out" .sqlx
  echo "$(ls .sqlx | wc -l) queries in .sqlx"
fi
