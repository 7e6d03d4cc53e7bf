#!/usr/bin/env bash
# Checks and tests everything, step by step; a failed step does not hide what the later ones find.
#   scripts/test.sh          all steps
#   scripts/test.sh check    only what needs no running instance
#   scripts/test.sh STEP…    the named steps; they are the functions below
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

check=(fmt build sqlx tidy scripts)
all=(fmt dashboard build sqlx images rust scripts mqtt shim shim_n8n shim_browser shim_images nginx compose e2e)

# One way to build for every cargo step, because each other way builds hundreds of crates once more: the whole workspace
# with all targets, in the debug profile, compiled by clippy, which lints our crates while it builds them. The query
# macros talk to the test database and write down what they learn, so the same build tells whether .sqlx is current.
flags=(--workspace --all-targets --locked)
export RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS='-Dwarnings'
export SQLX_OFFLINE=false

fmt() { cargo fmt --all --check; }

build() {
  need cargo clippy-driver # rustup component add clippy
  rm -rf "$SQLX_OFFLINE_DIR"
  mkdir -p "$SQLX_OFFLINE_DIR"
  touch manager/src/lib.rs # the macros write only when they run
  cargo test "${flags[@]}" --no-run
  # Among all targets it is built as a test of itself only.
  cargo build --workspace --locked --example stand_alone
}

sqlx() {
  diff -rq .sqlx "$SQLX_OFFLINE_DIR" && return
  say "The folder .sqlx is not current: run 'make sqlx' and commit it."
  return 1
}

rust() { cargo test "${flags[@]}" --no-fail-fast; }

# Part of `rust`; by itself for `check`.
tidy() { cargo test "${flags[@]}" --quiet tidy; }

scripts() {
  need shellcheck
  git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck --severity=warning --external-sources
}

dashboard() {
  cd manager/dashboard
  npm ci --no-audit --no-fund
  npm run check
  npm run build
  npm run e2e
}

shim() { npm --prefix settings-shim test; }

shim_n8n() { npm --prefix settings-shim run test:n8n; }

shim_browser() {
  npm --prefix settings-shim ci --no-audit --no-fund
  npm --prefix settings-shim run test:browser
}

shim_images() {
  settings-shim/test/image.sh
  settings-shim/test/n8n/image.sh
}

# The engines are installed even where images of an earlier checkout are still good: the shim's tests run them.
make_images() {
  images/build.sh --stage
  scripts/docker.sh
  images/build.sh
}

# Those that were begun beside the steps before, or now.
images() {
  [ -n "$beside" ] || { make_images; return; }
  local waited=0
  until [ -s build/images.status ] || [ "$waited" -ge 1800 ]; do sleep 1; waited=$((waited + 1)); done
  cat build/images.log
  [ "$(cat build/images.status)" = 0 ]
}

nginx() { nginx/test.sh; }

# With the broker that `build` made.
mqtt() { OPENFLOW_BROKER_BIN=$(realpath "${CARGO_TARGET_DIR:-target}/debug/examples/stand_alone") scripts/test-mqtt-clients.sh; }

# With the programs that `build` made.
compose() { OPENFLOW_BIN_DIR=$(realpath "${CARGO_TARGET_DIR:-target}/debug") scripts/test-compose.sh; }

# With the program that `build` made, on a PostgreSQL of its own.
e2e() {
  unset DATABASE_URL
  OPENFLOW_TEST_BIN=$(realpath "${CARGO_TARGET_DIR:-target}/debug/openflow") e2e/run.sh
}

eval "$(scripts/sqlx-prepare.sh --schema)"
export SQLX_OFFLINE_DIR=$PWD/build/sqlx

case ${1:-all} in
  all) steps=("${all[@]}") ;;
  check) steps=("${check[@]}") ;;
  *) steps=("$@") ;;
esac
# Making the images waits for the network and for single cores; the steps before those that need them have the rest.
beside=''
if [ "${steps[*]}" = "${all[*]}" ]; then
  beside=yes
  mkdir -p build
  rm -f build/images.status
  {
    set +e
    (set -e; make_images) >build/images.log 2>&1 </dev/null
    echo $? >build/images.status
  } &
fi
summary=() failed=0
for name in "${steps[@]}"; do
  [ "$(type -t "$name")" = function ] || die "there is no step '$name'; the steps are: ${all[*]} tidy"
  step "$name"
  begun=$SECONDS status=0
  # In a subshell outside of any condition, where set -e still holds.
  set +e
  (set -e; "$name")
  status=$?
  set -e
  verdict=ok
  if [ "$status" -ne 0 ]; then verdict=FAILED failed=1; fi
  # What clippy refuses is not built; the tests are to run all the same.
  if [ "$name$verdict" = buildFAILED ]; then unset RUSTC_WORKSPACE_WRAPPER; fi
  summary+=("$(printf '%-10s %-7s %5s s' "$name" "$verdict" $((SECONDS - begun)))")
done
step "Summary"
printf '    %s\n' "${summary[@]}" >&2
exit "$failed"
