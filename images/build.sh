#!/usr/bin/env bash
# Builds images: the engines', and those of docker-compose.yml. Does nothing for an image whose inputs have not changed.
#   images/build.sh [--force] [node-red] [n8n] [manager] [proxy]      without a name: the engines'
#   images/build.sh --stage [node-red] [n8n]    only installs the engines and Node.js under build/, for the shim's tests;
#                                               prints "node=<binary>" and "app=<folder>" for each. Needs no Docker
#   images/build.sh --lock [node-red] [n8n]     writes the lock files anew after a change of package.json
# The programs of "manager" and "proxy" are taken from $OPENFLOW_BIN_DIR [target/release]; the images are named after
# $OPENFLOW_VERSION [the version in Cargo.toml, and latest].
# --force also fetches Debian's and Docker Hub's current packages: use it to bring in security updates.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# choose_base GIVEN OFFICIAL OWN COMMAND…: what the operator gave; the official image where a registry answers;
# otherwise our own, built by COMMAND. Sets $base.
choose_base() {
  local given=$1 official=$2 own=$3
  shift 3
  step "Looking for a base image"
  if [ -n "$given" ]; then
    base=$given
  elif [ -z "$force" ] && docker image inspect "$official" >/dev/null 2>&1; then
    base=$official
  elif [ -z "$offline" ] && timeout 20 docker manifest inspect "$official" >/dev/null 2>&1 &&
    with_progress "pulling $official" timeout 900 docker pull --quiet "$official"; then
    base=$official
  else
    say "Docker Hub does not answer; the base is built from Debian packages"
    offline=yes # asked at most once per run
    "$@" $force
    base=$own
  fi
  say "base image: $base"
}

# up_to_date SOURCE TAG…: whether every tag was built from that source.
up_to_date() {
  local source=$1 tag
  shift
  [ -z "$force" ] || return
  for tag in "$@"; do [ "$(image_source "$tag")" = "$source" ] || return; done
  say "$1 is up to date"
}

# What a running engine never reads. The typings of @node-red stay: the editor serves them for its code completion.
prune() {
  local modules=$1
  rm -rf "$modules/npm/docs" "$modules/npm/man"
  find "$modules" -path "$modules/@node-red" -prune -o -type f \
    \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.markdown' -o -iname 'changelog*' \) -exec rm -f {} +
  find "$modules" -path "$modules/@node-red" -prune -o -type d \( -name test -o -name tests -o -name __tests__ -o -name .github \) -prune -exec rm -rf {} +
}

build_node_red() { build_engine node-red Node-RED; }
build_n8n() { build_engine n8n n8n; }

# What goes into the image beside the shim, as app.tar in the context.
pack_node_red() {
  local stage=$1 context=$2
  cp -al "$stage" "$context/app" # hard links: pruning the copy leaves the stage whole
  prune "$context/app/node_modules"
  pack "$context/app" "$context/app.tar" node_modules
  rm -rf "$context/app"
}
pack_n8n() { pack "$1" "$2/app.tar" node_modules seed; }

# Whether what was compiled on this machine runs in the image IMAGE.
try_node_red() { :; } # nothing was
try_n8n() {
  docker run --rm --network none --entrypoint node "$1" -e "require('/opt/n8n/node_modules/sqlite3')" >/dev/null ||
    die "SQLite, compiled here, does not run on $base. Build on Debian 12 or older, or give a newer base with OPENFLOW_NODE_IMAGE."
}

pack() {
  local folder=$1 file=$2
  shift 2
  tar -C "$folder" --sort=name --owner=0 --group=0 --numeric-owner --mode=a+rX,go-w --mtime=@0 -cf "$file" "$@"
}

# build_engine ENGINE TITLE
build_engine() {
  local engine=$1 title=$2 shim=$root/settings-shim version source stage context
  version=$(sed -n "s/.*\"$engine\": \"\([0-9.]*\)\".*/\1/p" "$images/$engine/package.json")
  source=$(source_hash "$images"/*.sh "$images/node" "$images/$engine" "$shim/common" "$shim/$engine")
  local tags=("openflow/$engine:$version" "openflow/$engine:${version%%.*}")
  up_to_date "$source" "${tags[@]}" && return
  choose_base "${OPENFLOW_NODE_IMAGE:-}" "$official_node" openflow/node:24 "$images/node.sh"
  stage=$(stage_app "$engine")
  step "Building ${tags[1]} ($title $version)"
  context=$(mktemp -d -p "$build" context.XXXXXX)
  # shellcheck disable=SC2064
  trap "rm -rf '$context'" EXIT
  with_progress "packing $title" pack_"${engine//-/_}" "$stage" "$context"
  mkdir "$context/openflow"
  cp -r "$shim/common" "$shim/$engine" "$context/openflow/"
  chmod -R a+rX,go-w "$context/openflow"
  with_progress "docker build" docker_build --build-arg BASE="$base" --build-arg VERSION="$version" --build-arg SOURCE="$source" \
    --tag "${tags[0]}" --tag "${tags[1]}" --file "$images/$engine/Dockerfile" "$context"
  rm -rf "$context"
  try_"${engine//-/_}" "${tags[0]}"
  # Only our own images that a newer build replaced and no container uses.
  docker image prune --force --filter label=openflow.source >/dev/null
  say "$(docker image inspect --format '{{join .RepoTags ", "}}: {{.Size}} bytes' "${tags[0]}")"
}

build_manager() { build_program manager openflow openflow/base:iptables "$images/base.sh" iptables; }
build_proxy() { build_program proxy openflow-proxy openflow/base:debian "$images/base.sh"; }

# build_program NAME BINARY OWN COMMAND…: an image of one of our own programs, built before; see choose_base for the rest.
build_program() {
  local name=$1 binary=$2 version source context
  local file=${OPENFLOW_BIN_DIR:-$root/target/release}/$binary
  shift 2
  [ -x "$file" ] || die "there is no program $file. Build it (cargo build --release), or say where it is with OPENFLOW_BIN_DIR."
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
  local tags=("openflow/$name:${OPENFLOW_VERSION:-$version}")
  [ -n "${OPENFLOW_VERSION:-}" ] || tags+=("openflow/$name:latest")
  source=$(source_hash "$images/base.sh" "$images/$name" "$file")
  up_to_date "$source" "${tags[@]}" && return
  choose_base "${OPENFLOW_BASE_IMAGE:-}" "$official_debian" "$@"
  step "Building ${tags[0]}"
  context=$(mktemp -d -p "$build" context.XXXXXX)
  # shellcheck disable=SC2064
  trap "rm -rf '$context'" EXIT
  # Debug symbols are most of the file and nobody reads them in a container.
  if have strip; then strip -o "$context/$binary" "$file"; else cp "$file" "$context/$binary"; fi
  chmod 755 "$context/$binary"
  with_progress "docker build" docker_build --build-arg BASE="$base" --build-arg VERSION="$version" --build-arg SOURCE="$source" \
    "${tags[@]/#/--tag=}" --file "$images/$name/Dockerfile" "$context"
  rm -rf "$context"
  # The machine that built the program may have a newer C library than the image.
  docker run --rm --network none "${tags[0]}" --version >/dev/null ||
    die "$file does not run on $base. Build it on Debian 12 or older, or give a newer base with OPENFLOW_BASE_IMAGE."
  docker image prune --force --filter label=openflow.source >/dev/null
  say "$(docker image inspect --format '{{join .RepoTags ", "}}: {{.Size}} bytes' "${tags[0]}")"
}

force='' offline='' action=build names=()
for argument in "$@"; do
  case $argument in
    --force) force=--force ;;
    --stage) action=stage ;;
    --lock) action=lock ;;
    node-red | n8n | manager | proxy) names+=("$argument") ;;
    *) die "unknown argument '$argument'. Usage: images/build.sh [--force | --stage | --lock] [node-red] [n8n] [manager] [proxy]" ;;
  esac
done
[ ${#names[@]} -gt 0 ] || names=(node-red n8n)
mkdir -p "$build"

for engine in "${names[@]}"; do
  case $action:$engine in
    stage:manager | stage:proxy | lock:manager | lock:proxy) die "--$action is for engines only, not for $engine" ;;
  esac
  case $action in
    build)
      "$root/scripts/docker.sh"
      build_"${engine//-/_}"
      ;;
    stage)
      stage=$(stage_app "$engine")
      fetch_node
      echo "node=$node_dir/bin/node"
      echo "app=$stage"
      ;;
    lock)
      step "Writing the lock file of $engine"
      # Without addresses of a registry: every site fetches from the one it is configured for; the integrity hashes stay.
      # The second run drops what the first one names and nothing needs.
      for _ in 1 2; do
        (cd "$images/$engine" && npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --no-audit --no-fund)
      done
      ;;
  esac
done
