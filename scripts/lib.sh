# Shared by every script here: `. "$(dirname "$0")/lib.sh"`. Only functions, no side effects on loading.
# shellcheck shell=bash

# A step is announced before it is done, so that whoever watches knows what a pause is about.
step() { printf '==> %s\n' "$*" >&2; }
say()  { printf '    %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die()  { printf 'error: %s\n' "$*" >&2; exit 1; }

have() { command -v "$1" >/dev/null 2>&1; }

# Ends the script unless every named program is there.
need() {
  local program
  for program in "$@"; do
    have "$program" || die "the program '$program' is missing. Run scripts/install.sh, or install it by hand."
  done
}

# Ends the script unless as_root will work. Asks for no password: an unattended install must not hang on a prompt.
need_root() {
  [ "$(id -u)" -eq 0 ] && return
  have sudo && sudo -n true 2>/dev/null && return
  die "this needs root for: $*. Run it as root, or as a user whose sudo asks for no password."
}

# as_root COMMAND…
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n -- "$@"; fi
}

# True where systemd is the init process; elsewhere (containers, minimal machines) we start daemons ourselves.
systemd_runs() { [ -d /run/systemd/system ]; }

# wait_for SECONDS WHAT COMMAND…: repeats COMMAND until it succeeds; false when the time is over.
# Says every ten seconds that it still waits.
wait_for() {
  local seconds=$1 what=$2 begun=$SECONDS told=0
  shift 2
  until "$@" >/dev/null 2>&1; do
    local waited=$((SECONDS - begun))
    [ "$waited" -lt "$seconds" ] || return 1
    if [ $((waited / 10)) -gt "$told" ]; then told=$((waited / 10)); say "still waiting for $what (${waited} of at most ${seconds} s)"; fi
    sleep 0.2
  done
}

# with_progress WHAT COMMAND…: runs a long and quiet command and says every ten seconds that it is still at it.
# Its output is shown only when it fails.
with_progress() {
  local what=$1 log begun=$SECONDS told=0 status=0
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1 &
  local pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if [ $(((SECONDS - begun) / 10)) -gt "$told" ]; then told=$(((SECONDS - begun) / 10)); say "$what: $((SECONDS - begun)) s"; fi
    sleep 0.2
  done
  wait "$pid" || status=$?
  if [ "$status" -ne 0 ]; then cat "$log" >&2; fi
  rm -f "$log"
  return "$status"
}
