#!/usr/bin/env bash
# Backup and restore of a data folder, beside `tar | pigz` and `tar -xz` on the same folder: interleaved rounds, medians,
# peak memory; and how long an instance is frozen that writes 100 files a second meanwhile.
#
#   bench/backup.sh [path of the example `bench` of openflow-archive]
#   ROUNDS=3 MEGABYTES=1024 LEVEL=6 THREADS=2 bench/backup.sh
#
# Needs pigz, python3 and some 5 GB in $TMPDIR. Both sides bring what they wrote to the disk within the time that is
# measured, and read from a warm page cache.
set -euo pipefail

program=$(realpath "${1:-target/release/examples/bench}")
rounds=${ROUNDS:-3} megabytes=${MEGABYTES:-1024} level=${LEVEL:-6} threads=${THREADS:-2}
work=$(mktemp -d "${TMPDIR:-/tmp}/openflow-backup.XXXXXX")
writer=''

for tool in pigz python3; do
    command -v "$tool" >/dev/null || { echo "$tool is needed: apt install $tool" >&2; exit 1; }
done
[ -x "$program" ] || { echo "$program is missing: cargo build --release -p openflow-archive --example bench" >&2; exit 1; }

stop() {
    if [ -n "$writer" ]; then
        kill -CONT "$writer" 2>/dev/null || true
        kill "$writer" 2>/dev/null || true
    fi
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

# What an instance has: modules in thousands of small files, logs that compress, uploads that do not, a database.
python3 - "$work/data" "$megabytes" <<'PYTHON'
import os, random, sqlite3, sys
root, megabytes = sys.argv[1], int(sys.argv[2])
random.seed(4)
words = [bytes(random.choices(b'abcdefghijklmnopqrstuvwxyz', k=random.randint(2, 10))) for _ in range(5000)]
def text(size):
    out = bytearray()
    while len(out) < size:
        out += b' '.join(random.choices(words, k=12)) + b' %d\n' % random.getrandbits(30)
    return bytes(out[:size])
page = text(8 << 20)
def put(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(content)
for n in range(10000):
    at = random.randrange(len(page) - 20000)
    put(f'{root}/node_modules/m{n // 40}/lib/f{n}.js', page[at:at + int(random.expovariate(1 / 3000))])
for n in range(megabytes * 5 // 10 // 8):
    shift = random.randrange(1 << 20)
    put(f'{root}/logs/{n}.log', page[shift:] + page[:shift])
for n in range(megabytes * 4 // 10 // 16):
    put(f'{root}/uploads/{n}.jpg', os.urandom(16 << 20))
base = sqlite3.connect(f'{root}/context.db')
base.execute('pragma journal_mode=wal')
base.execute('create table t(k integer primary key, v blob)')
for n in range(megabytes * 5 // 100):
    base.execute('insert into t(v) values (?)', (page[n * 1000:n * 1000 + (1 << 20)],))
base.commit()
base.close()
PYTHON
bytes=$(du -sb "$work/data" | cut -f1)
files=$(find "$work/data" -type f | wc -l)
echo "data: $((bytes / 1000000)) MB in $files files; level $level, $threads threads"
tar -C "$work" -cf - data | cat >/dev/null # warm

# timed <name> <command…>: appends "name seconds CPU-seconds", and prints what the command has to say
timed() {
    local name=$1 TIMEFORMAT='%R %U %S'
    shift
    sync -f "$work"
    { time "$@" 2>&3; } 3>&2 2>"$work/time"
    awk -v name="$name" -v bytes="$bytes" \
        '{printf "%-18s %6.2f s  %6.2f s of CPU  %5.0f MB/s\n", name, $1, $2 + $3, bytes / $1 / 1e6}' "$work/time" |
        tee -a "$work/results"
}

pigz_backup() {
    tar -C "$work" -cf - data | pigz "-$level" -p "$threads" >"$work/pigz.tar.gz"
    sync "$work/pigz.tar.gz"
}
tar_restore() {
    mkdir "$work/by-tar"
    tar -C "$work/by-tar" -xzf "$work/pigz.tar.gz"
    sync -f "$work/by-tar"
}
openflow_backup() { "$program" write "$work/data" "$work/openflow.tar.gz" "$level" "$threads"; }
openflow_check() { "$program" check "$work/openflow.tar.gz"; }
openflow_restore() { "$program" unpack "$work/openflow.tar.gz" "$work/by-openflow" "$threads"; }

for round in $(seq "$rounds"); do
    echo "round $round of $rounds"
    timed tar+pigz pigz_backup
    timed openflow-backup openflow_backup
    timed openflow-check openflow_check
    timed tar-xz tar_restore
    timed openflow-restore openflow_restore
    if [ "$round" = 1 ]; then
        diff -r "$work/data" "$work/by-openflow"
    fi
    rm -rf "$work/by-tar" "$work/by-openflow"
done

# median <name> <field>
median() { awk -v name="$1" -v field="$2" '$1 == name {print $field}' "$work/results" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
echo "medians"
compare() {
    awk -v one="$1" -v other="$2" -v own="$(median "$1" 2)" -v peer="$(median "$2" 2)" -v cpu="$(median "$1" 4)" -v peer_cpu="$(median "$2" 4)" \
        'BEGIN {printf "%-18s %6.2f s, ×%.2f as fast as %s (%.2f s); %.2f s of CPU, ×%.2f (%.2f s)\n", one, own, peer / own, other, peer, cpu, cpu / peer_cpu, peer_cpu}'
}
compare openflow-backup tar+pigz
compare openflow-restore tar-xz
echo "archives: $(stat -c %s "$work/openflow.tar.gz") bytes, pigz $(stat -c %s "$work/pigz.tar.gz") bytes"

echo "frozen, while 100 files a second and a database are written"
python3 - "$work/data" <<'PYTHON' &
import os, sqlite3, sys, time
root = sys.argv[1]
base = sqlite3.connect(f'{root}/context.db')
base.execute('create table if not exists w(k integer primary key, v text)')
os.makedirs(f'{root}/written', exist_ok=True)
for n in range(100000):
    with open(f'{root}/written/{n}.json', 'w') as file:
        file.write('{"n": %d}' % n * 100)
    base.execute('insert into w(v) values (?)', ('x' * 100,))
    base.commit()
    time.sleep(0.01)
PYTHON
writer=$!
sleep 1
for _ in $(seq "$rounds"); do
    "$program" write "$work/data" "$work/frozen.tar.gz" "$level" "$threads" "$writer"
done
"$program" check "$work/frozen.tar.gz"
