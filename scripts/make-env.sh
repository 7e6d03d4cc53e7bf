#!/usr/bin/env bash
# Writes .env for docker-compose.yml: .env.example with fresh secrets, readable by its owner alone.
#   scripts/make-env.sh [FILE]      never touches a file that is there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh
[ $# -le 1 ] || die "too many arguments. Usage: scripts/make-env.sh [FILE]"
file=${1:-.env}
[ ! -e "$file" ] || die "$file is there already and stays as it is. Its secrets belong to the data: to begin anew, move both away."

# 256 random bits in base64url, 43 characters.
key() { head -c 32 /dev/urandom | base64 -w0 | tr '+/' '-_' | tr -d '='; }
# 256 random bits; a letter first, so that no configuration language takes it for a number.
word() { printf 's%s' "$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')"; }

umask 077
new=$(mktemp "$file.XXXXXX")
trap 'rm -f "$new"' EXIT
while IFS= read -r line; do
  case $line in
    OPENFLOW_DATA_DIR=) line+=$PWD/data ;;
    OPENFLOW_SECRET_KEYS=) line+=$(key) ;;
    OPENFLOW_EMQX_API_KEY=) line+=openflow:$(word) ;;
    OPENFLOW_*=) line+=$(word) ;;
  esac
  printf '%s\n' "$line"
done <.env.example >"$new"
# A link, not a rename: it fails when somebody else was quicker.
ln "$new" "$file" 2>/dev/null || die "$file was made by somebody else meanwhile and stays as it is."
say "$file is written, with fresh secrets. Set OPENFLOW_DOMAIN in it; docs/compose.md says what follows."
