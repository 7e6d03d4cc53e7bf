#!/usr/bin/env bash
# Sees to it that a Docker Engine answers. Starts one when none runs; leaves a running one exactly as it is.
#   scripts/docker.sh            idempotent; needs root only when the engine has to be started
# With DOCKER_HOST set, the engine is somebody else's: it is asked, never started.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

log=${OPENFLOW_DOCKERD_LOG:-/var/log/openflow-dockerd.log}
wait_seconds=60

# `docker info` prints the client's half and exits 0 in some versions although the engine is away; ask for the server.
engine_answers() { timeout 10 docker version --format '{{.Server.Version}}'; }

# Pid of a living process of that name, or nothing. A zombie does not count: nobody may ever reap it.
running_pid() {
  local dir name
  for dir in /proc/[0-9]*; do
    read -r name <"$dir/comm" || continue
    [ "$name" = "$1" ] || continue
    grep -q '^State:[[:space:]]*[ZX]' "$dir/status" && continue
    echo "${dir#/proc/}"
    return
  done 2>/dev/null
}

# A killed engine leaves pid files. The next one refuses to start when the number in it belongs to any process today.
remove_stale_pid_file() {
  local file=$1 name=$2 pid
  [ -e "$file" ] || return 0
  pid=$(cat "$file" 2>/dev/null || true)
  [ -n "$pid" ] && [ "$pid" = "$(running_pid "$name")" ] && return 0
  say "removing $file, left behind by an engine that was killed"
  as_root rm -f "$file"
}

how_to_look() {
  if systemd_runs; then echo "journalctl -u docker --no-pager | tail -50"; else echo "tail -50 $log"; fi
}

start_with_systemd() {
  step "Starting the Docker Engine (systemctl start docker)"
  as_root systemctl start docker || die "systemd could not start docker. See why with: $(how_to_look)"
}

# Detached (own session, no terminal, no lock) so that it outlives this script and whoever called it.
# --live-restore keeps the instances running while the engine restarts.
start_detached() {
  step "Starting the Docker Engine (dockerd, log in $log)"
  remove_stale_pid_file /var/run/docker.pid dockerd
  remove_stale_pid_file /run/docker/containerd/containerd.pid containerd
  local flags=(--host unix:///var/run/docker.sock)
  grep -qs '"live-restore"' /etc/docker/daemon.json || flags+=(--live-restore)
  # The inner shell opens the log, which only root may write. 9 is the lock: the engine must not keep it.
  # shellcheck disable=SC2016
  as_root sh -c 'log=$1; shift; exec setsid --fork "$@" </dev/null >>"$log" 2>&1 9>&-' sh "$log" dockerd "${flags[@]}"
}

need docker
if engine_answers >/dev/null 2>&1; then
  say "Docker Engine $(engine_answers) runs"
  exit 0
fi
[ -z "${DOCKER_HOST:-}" ] || die "the engine at DOCKER_HOST=$DOCKER_HOST does not answer. Start it there, or unset DOCKER_HOST."

if [ "$(id -u)" -ne 0 ] && sudo -n docker version >/dev/null 2>&1; then
  die "the engine runs, but $(id -un) may not use it. Add yourself to the group: sudo usermod -aG docker $(id -un), then sign in again."
fi
need_root "starting the Docker Engine"
need dockerd flock
# One starter at a time: two would fight for the pid file. The lock is freed when this script ends.
exec 9>"${TMPDIR:-/tmp}/openflow-docker.lock"
flock -w "$wait_seconds" 9 || die "another scripts/docker.sh has been starting the engine for more than $wait_seconds s"

if ! engine_answers >/dev/null 2>&1; then
  if [ -n "$(running_pid dockerd)" ]; then
    step "A dockerd is there but does not answer yet (pid $(running_pid dockerd)); waiting for it"
  elif systemd_runs; then
    start_with_systemd
  else
    start_detached
  fi
fi
# As root: the one who started the engine need not be in its group yet.
if ! wait_for "$wait_seconds" "the Docker Engine" as_root timeout 10 docker version; then
  die "the Docker Engine did not answer within $wait_seconds s. See why with: $(how_to_look)"
fi
say "Docker Engine runs"
engine_answers >/dev/null 2>&1 ||
  die "$(id -un) may not use it yet. Add yourself to the group: sudo usermod -aG docker $(id -un), then sign in again."
