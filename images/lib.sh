# Names and helpers shared by the image scripts.
# shellcheck shell=bash
images=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$images")
build=${OPENFLOW_BUILD_DIR:-$root/build}
# shellcheck source=../scripts/lib.sh
. "$root/scripts/lib.sh"

# One Node.js for the image, for staging and for the shim's tests. No newer line than Node-RED is tested with.
node_version=24.21.0
node_dir=$build/node-$node_version
# shellcheck disable=SC2034 # used by the scripts that load this file
official_node=node:$node_version-bookworm-slim
# shellcheck disable=SC2034
official_debian=debian:bookworm-slim

case $(uname -m) in
  x86_64) node_arch=x64 ;;
  aarch64) node_arch=arm64 ;;
  *) die "no image recipe for the processor $(uname -m); x86_64 and aarch64 are known" ;;
esac

# source_hash PATH…: one hash over names and contents, so that equal inputs are recognised on any machine.
source_hash() {
  find "$@" -type f -not -name '*.md' -print0 | LC_ALL=C sort -z | (
    while IFS= read -r -d '' file; do
      printf '%s %s\n' "$(sha256sum <"$file")" "${file#"$root"/}"
    done
    echo "node $node_version $node_arch"
  ) | sha256sum | cut -d' ' -f1
}

# The hash that an image was built from; nothing when there is no such image.
image_source() { docker image inspect --format '{{index .Config.Labels "openflow.source"}}' "$1" 2>/dev/null || true; }

# The classic builder where the newer one is not installed.
docker_build() {
  if ! docker buildx version >/dev/null 2>&1; then export DOCKER_BUILDKIT=0; fi
  docker build "$@"
}

# Node.js as the npm package that Node's own npm distribution consists of: bin/node, checked against npm's integrity hash.
fetch_node() {
  [ -x "$node_dir/bin/node" ] && return
  need npm tar
  step "Fetching Node.js $node_version from npm (about 50 MB)"
  local work
  work=$(mktemp -d)
  (cd "$work" && with_progress "fetching Node.js" npm pack --silent "node-linux-$node_arch@$node_version") ||
    die "Node.js could not be fetched. Is the npm registry reachable from here?"
  rm -rf "$node_dir.part"
  mkdir -p "$node_dir.part"
  tar -xzf "$work"/node-linux-*.tgz -C "$node_dir.part" --strip-components=1
  rm -rf "$work"
  "$node_dir.part/bin/node" --version >/dev/null
  rm -rf "$node_dir"
  mv "$node_dir.part" "$node_dir" # whole or not at all
}

# stage_app ENGINE: the engine installed from its lock file into $build/stage/<engine>-<hash>/; prints that folder.
# The shim's tests run the very same files as the image. images/<engine>/stage.sh, where there is one, finishes the folder.
stage_app() {
  local engine=$1 stage file inputs=()
  for file in package.json package-lock.json stage.sh check.js seed.js; do
    [ ! -e "$images/$engine/$file" ] || inputs+=("$images/$engine/$file")
  done
  stage=$build/stage/$engine-$(source_hash "${inputs[@]}" | cut -c1-16)
  if [ ! -d "$stage" ]; then
    fetch_node
    step "Installing $engine from its lock file"
    rm -rf "$stage.part"
    mkdir -p "$stage.part"
    cp "$images/$engine"/package*.json "$stage.part/"
    (install_app "$stage.part") || die "npm could not install $engine. Is the npm registry reachable from here?"
    if [ -x "$images/$engine/stage.sh" ]; then "$images/$engine/stage.sh" "$stage.part" >&2; fi
    mv "$stage.part" "$stage"
  fi
  echo "$stage"
}

# The host's npm run by the image's Node.js: optional platform packages are chosen for what will run them. An engine that
# has a stage.sh is installed with "npm install" and without scripts: a registry may lack optional packages for other
# platforms, over which "npm ci" refuses the lock file. What the lock file names is checked against its hashes all the same.
install_app() {
  local options=(--omit=dev --no-audit --no-fund --libc=glibc)
  cd "$1" || return
  if [ -x "$images/$engine/stage.sh" ]; then
    PATH=$node_dir/bin:$PATH with_progress "npm install" "$node_dir/bin/node" "$(npm_cli)" install --ignore-scripts "${options[@]}" || return
    same_packages package-lock.json "$images/$engine/package-lock.json" || die "npm does not find what the lock file of $engine says: its registry differs."
  else
    PATH=$node_dir/bin:$PATH with_progress "npm ci" "$node_dir/bin/node" "$(npm_cli)" ci "${options[@]}" || return
  fi
}

# Whether two lock files name the same packages: what else is in one depends on the npm that wrote it.
same_packages() {
  "$node_dir/bin/node" -e '
    const [a, b] = process.argv.slice(1).map((file) => {
      const { packages } = JSON.parse(require("node:fs").readFileSync(file, "utf8"));
      return JSON.stringify(Object.entries(packages).filter(([at]) => at).map(([at, it]) => [at, it.version, it.integrity]).sort());
    });
    process.exit(a === b ? 0 : 1);' "$1" "$2"
}

npm_cli() {
  need npm
  readlink -f "$(command -v npm)"
}
