#!/usr/bin/env bash
# Builds the image openflow/test:1 of the runtime's tests from Debian's busybox-static, without a registry. Does nothing
# when it is there and current. The container runs $RUN (shell), then serves /openflow/health on $PORT (1880) and ends
# with the code that it finds in /data/exit.
set -euo pipefail
cd "$(dirname "$0")/.."
image=openflow/test:1
version=$(sha256sum scripts/test-image.sh | cut -c1-16)

docker version >/dev/null 2>&1 || { echo "No Docker Engine answers: install and start it ('make install')." >&2; exit 1; }
current() { [ "$(docker image inspect -f '{{index .Config.Labels "openflow.test"}}' $image 2>/dev/null)" = "$version" ]; }
current && exit 0

# One at a time: several test programs may ask at once.
exec 9>"${TMPDIR:-/tmp}/openflow-test-image.lock"
flock 9
current && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt downloads as a user of its own
if [ "$(dpkg-query -W -f '${Status}' busybox-static 2>/dev/null)" = "install ok installed" ]; then
  busybox=/bin/busybox
else
  (cd "$work" && apt-get download -q busybox-static >/dev/null && dpkg-deb -x busybox-static_*.deb deb)
  busybox=$work/deb/bin/busybox
fi

root=$work/root
mkdir -p "$root"/{bin,data,etc,tmp,www/openflow}
chmod 1777 "$root/tmp"
install -m 755 "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
printf '{"ok":true,"flows":true}' >"$root/www/openflow/health"
cat >"$root/bin/entry" <<'ENTRY'
#!/bin/sh
trap 'echo stopping; exit 0' TERM
eval "$RUN"
httpd -f -p "${PORT:-1880}" -h /www &
echo ready
while sleep 0.1; do
  if [ -f /data/exit ]; then
    code=$(cat /data/exit)
    rm /data/exit
    exit "$code"
  fi
done
ENTRY
chmod 755 "$root/bin/entry"
echo root:x:0:0::/:/bin/sh >"$root/etc/passwd"

tar -C "$root" --owner=0 --group=0 --numeric-owner -cf "$work/root.tar" .
docker import -c 'ENTRYPOINT ["/bin/entry"]' -c 'ENV PATH=/bin' -c "LABEL openflow.test=$version" \
  -c 'USER root' "$work/root.tar" $image >/dev/null
