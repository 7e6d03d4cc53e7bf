#!/usr/bin/env bash
# Finishes the folder that n8n was installed into: compiles SQLite, leaves out what is never read, makes the database and
# the editor's files that each instance begins with. Called by images/lib.sh.
#   images/n8n/stage.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../lib.sh
. "$here/../lib.sh"
folder=$(realpath "$1")
modules=$folder/node_modules

# Everything else that is native comes ready made from npm. SQLite's package would fetch its binary from GitHub; its source
# is in the package, and the headers of Node.js are those that were fetched with it.
compile_sqlite() {
  local gyp
  need make g++ python3
  gyp=$(dirname "$(dirname "$(npm_cli)")")/node_modules/node-gyp/bin/node-gyp.js
  [ -f "$gyp" ] || die "npm comes without node-gyp here ($gyp); install npm as nodejs.org or Debian have it."
  cd "$modules/sqlite3"
  PATH=$node_dir/bin:$PATH "$node_dir/bin/node" "$gyp" rebuild --release --nodedir="$node_dir" >gyp.log 2>&1 || { tail -n 20 gyp.log; return 1; }
  mv build/Release/node_sqlite3.node .
  if have strip; then strip --strip-unneeded node_sqlite3.node; fi
  rm -rf build deps gyp.log
  mkdir -p build/Release
  mv node_sqlite3.node build/Release/
}

# Half of the files are never read by a running server. Licences stay, wherever they are.
leave_out() {
  cd "$modules"
  # Of the editor's browser code; nothing on the server loads them.
  rm -rf element-plus @element-plus reka-ui @tiptap @vue/language-core vue-tsc playwright playwright-core agent-browser
  find . -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.tsbuildinfo' -o -name '*.flow' \) \
    -not -path './typescript/lib/*' -delete
  rm -rf npm/docs npm/man
  find . -type f \( -iname 'readme*' -o -iname 'changelog*' -o -iname 'history.md' -o -iname 'contributing*' \) -not -path '*/dist/*' -delete
  find . -type f \( -name '*.node' -o -name '*.exe' \) \( -path '*darwin*' -o -path '*win32*' -o -path '*musl*' \) -delete
  # Names that only folders of tests and papers have, and only at the root of a package.
  find . -type d \( -path '*/node_modules/*' -o -path './*' \) \( -name test -o -name tests -o -name __tests__ -o -name example -o -name examples \
    -o -name docs -o -name benchmark -o -name .github \) -not -path './n8n*' -not -path './@n8n/*' -not -path './npm/*' -not -path '*/dist/*' -not -path '*/lib/*' \
    -not -path '*/build/*' -not -path '*/src/*' -not -path '*/esm/*' -not -path '*/cjs/*' -prune -exec rm -rf {} +
  find . -type d -empty -delete
}

with_progress "compiling SQLite" compile_sqlite
with_progress "leaving out what is not needed" leave_out
with_progress "loading every node" "$node_dir/bin/node" "$here/check.js" "$folder"
with_progress "making the first database" "$node_dir/bin/node" "$here/seed.js" "$folder"
