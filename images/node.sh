#!/usr/bin/env bash
# openflow/node:24 = openflow/base:debian + Node.js from npm.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tag=openflow/node:24

source=$(source_hash "$images/base.sh" "$images/node.sh" "$images/node")
if [ "${1:-}" != --force ] && [ "$(image_source $tag)" = "$source" ]; then exit 0; fi
"$images/base.sh" "$@"
fetch_node
step "Building $tag"
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
# Debug symbols are a seventh of the binary and nobody reads them in a container.
if have strip; then strip -o "$context/node" "$node_dir/bin/node"; else cp "$node_dir/bin/node" "$context/node"; fi
chmod 755 "$context/node"
docker_build --quiet --build-arg SOURCE="$source" --tag "$tag" --file "$images/node/Dockerfile" "$context" >/dev/null
