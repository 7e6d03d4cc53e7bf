#!/usr/bin/env bash
# Builds the engines' images. Does nothing for an image whose inputs have not changed.
#   images/build.sh [--force] [node-red]
#   images/build.sh --stage [node-red]    only installs the engine and Node.js under build/, for the shim's tests; prints
#                                         "node=<binary>" and "app=<folder>". Needs no Docker
#   images/build.sh --lock [node-red]     writes the lock file anew after a change of package.json
# --force also fetches Debian's and Docker Hub's current packages: use it to bring in security updates.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The official image where a registry answers, otherwise our own. Sets $base. Asked at most once per run.
choose_base() {
  step "Looking for a base image"
  if [ -n "${OPENFLOW_NODE_IMAGE:-}" ]; then
    base=$OPENFLOW_NODE_IMAGE
  elif [ -z "$force" ] && docker image inspect "$official_image" >/dev/null 2>&1; then
    base=$official_image
  elif timeout 20 docker manifest inspect "$official_image" >/dev/null 2>&1 &&
    with_progress "pulling $official_image" timeout 900 docker pull --quiet "$official_image"; then
    base=$official_image
  else
    say "Docker Hub does not answer; the base is built from Debian packages and npm"
    "$images/node.sh" $force
    base=openflow/node:24
  fi
  say "base image: $base"
}

# What a running engine never reads. The typings of @node-red stay: the editor serves them for its code completion.
prune() {
  local modules=$1
  rm -rf "$modules/npm/docs" "$modules/npm/man"
  find "$modules" -path "$modules/@node-red" -prune -o -type f \
    \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.markdown' -o -iname 'changelog*' \) -exec rm -f {} +
  find "$modules" -path "$modules/@node-red" -prune -o -type d \( -name test -o -name tests -o -name __tests__ -o -name .github \) -prune -exec rm -rf {} +
}

build_node_red() {
  local shim=$root/settings-shim engine=node-red version source
  version=$(sed -n 's/.*"node-red": "\([0-9.]*\)".*/\1/p' "$images/node-red/package.json")
  source=$(source_hash "$images" "$shim/common" "$shim/node-red")
  local tags=("openflow/node-red:$version" "openflow/node-red:${version%%.*}")
  if [ -z "$force" ] && [ "$(image_source "${tags[0]}")" = "$source" ] && [ "$(image_source "${tags[1]}")" = "$source" ]; then
    say "${tags[1]} is up to date"
    return
  fi
  choose_base
  local stage context
  stage=$(stage_app node-red)
  step "Building ${tags[1]} (Node-RED $version)"
  context=$(mktemp -d -p "$build" context.XXXXXX)
  # shellcheck disable=SC2064
  trap "rm -rf '$context'" EXIT
  cp -al "$stage" "$context/app" # hard links: pruning the copy leaves the stage whole
  prune "$context/app/node_modules"
  tar -C "$context/app" --sort=name --owner=0 --group=0 --numeric-owner --mode=a+rX,go-w --mtime=@0 -cf "$context/app.tar" node_modules
  rm -rf "$context/app"
  mkdir "$context/openflow"
  cp -r "$shim/common" "$shim/node-red" "$context/openflow/"
  chmod -R a+rX,go-w "$context/openflow"
  with_progress "docker build" docker_build --build-arg BASE="$base" --build-arg VERSION="$version" --build-arg SOURCE="$source" \
    --tag "${tags[0]}" --tag "${tags[1]}" --file "$images/node-red/Dockerfile" "$context"
  rm -rf "$context"
  # Only our own images that a newer build replaced and no container uses.
  docker image prune --force --filter label=openflow.source >/dev/null
  say "$(docker image inspect --format '{{join .RepoTags ", "}}: {{.Size}} bytes' "${tags[0]}")"
}

force='' action=build engines=()
for argument in "$@"; do
  case $argument in
    --force) force=--force ;;
    --stage) action=stage ;;
    --lock) action=lock ;;
    node-red) engines+=("$argument") ;;
    *) die "unknown argument '$argument'. Usage: images/build.sh [--force | --stage | --lock] [node-red]" ;;
  esac
done
[ ${#engines[@]} -gt 0 ] || engines=(node-red)
mkdir -p "$build"

for engine in "${engines[@]}"; do
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
      (cd "$images/$engine" && npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund)
      ;;
  esac
done
