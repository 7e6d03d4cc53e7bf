#!/usr/bin/env bash
# Installs what Openflow needs from the machine's own package archive (Debian, Ubuntu), starts the Docker Engine, and says
# how to get Rust where that is missing.
#   scripts/install.sh           to run Openflow
#   scripts/install.sh --test    also what the test suites use: a browser, nginx, MQTT and load tools
# Installs only what is missing, asks nothing, can be run again at any time.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

test=''
case ${1:-} in
  '') ;;
  --test) test=yes ;;
  *) die "unknown argument '$1'. Usage: scripts/install.sh [--test]" ;;
esac

postgres_present() { have postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }
compose_present() { have docker-compose || docker compose version >/dev/null 2>&1; }

missing=()
# want PACKAGE COMMAND…: the package is wanted unless the command succeeds, wherever the program came from.
want() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

want docker.io have dockerd
want iptables have iptables
want postgresql postgres_present
want ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
want curl have curl
want binutils have strip
# Rust links with it, and compiles the C of its TLS library.
want gcc have cc
want libc6-dev test -e /usr/include/stdio.h
# npm fetches Node-RED and Node.js for the image and builds the dashboard.
want npm have npm
if [ -n "$test" ]; then
  want chromium have chromium
  want nginx-light have nginx
  want wrk have wrk
  want pigz have pigz
  want mosquitto have mosquitto
  want mosquitto-clients have mosquitto_sub
  want python3-paho-mqtt /usr/bin/python3 -c 'import paho.mqtt.client'
  want python3-venv python3 -c 'import ensurepip, venv'
  want docker-compose compose_present
  want e2fsprogs have mkfs.ext4
  want openssl have openssl
  want shellcheck have shellcheck
  # n8n's image: SQLite is compiled for it.
  want g++ have g++
  want make have make
  want python3 have python3
fi

if [ ${#missing[@]} -gt 0 ]; then
  have apt-get || die "this is no Debian-like machine. Install these by hand, then run this again: ${missing[*]}"
  need_root "installing packages"
  step "Installing ${missing[*]}"
  # Openflow runs a PostgreSQL of its own; the package must not start another one beside it.
  if [ ! -e /etc/postgresql-common/createcluster.d/openflow.conf ] && [[ " ${missing[*]} " == *' postgresql '* ]]; then
    as_root mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.d/openflow.conf >/dev/null
  fi
  # Instances keep running while the engine restarts. Only for an engine that we bring in; never an operator's own file.
  if [ ! -e /etc/docker/daemon.json ] && [[ " ${missing[*]} " == *' docker.io '* ]]; then
    as_root mkdir -p /etc/docker
    echo '{"live-restore": true}' | as_root tee /etc/docker/daemon.json >/dev/null
  fi
  apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@"; }
  with_progress "apt-get update" apt update -q || warn "apt-get update failed; going on with the package lists that are there"
  # Debian starts nginx and mosquitto as services, on ports that are Openflow's or somebody else's; the tests start their
  # own. This file is asked before a package starts its service; an operator's own one is left as it is.
  policy=/usr/sbin/policy-rc.d
  if [ -n "$test" ] && [ ! -e $policy ]; then
    trap 'as_root rm -f $policy' EXIT
    printf '#!/bin/sh\ncase "$1" in nginx* | mosquitto*) exit 101 ;; esac\n' | as_root install -m 755 /dev/stdin $policy
  fi
  with_progress "apt-get install" apt install -y -q --no-install-recommends "${missing[@]}" ||
    die "the packages could not be installed; the reason is above"
  for package in nginx-light mosquitto; do # nor at the next boot
    if systemd_runs && [[ " ${missing[*]} " == *" $package "* ]]; then as_root systemctl disable --now --quiet "${package%-light}" || true; fi
  done
else
  say "all packages are there"
fi

"$(dirname "${BASH_SOURCE[0]}")/docker.sh"

# Rust comes from its own installer, in its user's home: the distributions' packages are older than what the source needs.
needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$(dirname "${BASH_SOURCE[0]}")/../Cargo.toml")
rustup="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal && . ~/.cargo/env"
if have cargo && have rustc; then
  found=$(rustc --version | cut -d ' ' -f 2)
  [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ] ||
    die "Rust $found is too old to build Openflow, which needs $needed or newer: run 'rustup update', or where Rust is a package of the system
    $rustup
then run this again."
elif [ -x ~/.cargo/bin/cargo ]; then
  die "Rust is in ~/.cargo/bin, which is not in PATH. Run '. ~/.cargo/env', then this again."
else
  die "everything else is there; what is missing is Rust $needed or newer (packages of Debian and Ubuntu are too old). Install it with
    $rustup
then run this again."
fi
