#!/usr/bin/env bash
# openflow/base:debian, a small root file system put together from Debian packages. Used where Docker Hub cannot be reached.
# No package manager inside: what an instance does not have cannot be turned against its neighbours.
#   images/base.sh [--force] [iptables]     with "iptables": openflow/base:iptables, for the manager
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tag=openflow/base:debian force=''
packages=(base-files netbase ca-certificates libc6 libgcc-s1 libstdc++6 tini busybox-static)
for argument in "$@"; do
  case $argument in
    --force) force=--force ;;
    iptables)
      tag=openflow/base:iptables
      packages+=(iptables libip4tc2 libip6tc2 libmnl0 libnetfilter-conntrack3 libnfnetlink0 libnftnl11 libxtables12)
      ;;
    *) die "unknown argument '$argument'. Usage: images/base.sh [--force] [iptables]" ;;
  esac
done

source=$(source_hash "${BASH_SOURCE[0]}")
if [ -z "$force" ] && [ "$(image_source $tag)" = "$source" ]; then exit 0; fi

{ have apt-get && have dpkg-deb; } ||
  die "Docker Hub cannot be reached and this is not a Debian-like machine. Load the official base image into the engine (docker load) and run this again."
need docker tar
step "Building $tag from Debian packages"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" "$work/rootfs"
rootfs=$work/rootfs

download() { (cd "$work/debs" && apt-get download -qq -o "APT::Sandbox::User=$(id -un)" "${packages[@]}"); }
if ! download 2>/dev/null; then
  need_root "apt-get update"
  as_root apt-get update -qq
  download || die "the Debian packages could not be fetched: ${packages[*]}"
fi

# Debian's merged /usr: packages that still ship /lib or /bin unpack through these links.
mkdir -p "$rootfs"/usr/{bin,sbin,lib,lib64} "$rootfs/var/lib/dpkg/status.d"
for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$rootfs/$dir"; done
for deb in "$work"/debs/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$rootfs" --keep-directory-symlink --no-same-owner \
    --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='./usr/share/lintian' --exclude='*/gconv' \
    --exclude='./usr/share/doc/*/[!c]*'
  # What vulnerability scanners read instead of a package database.
  dpkg-deb --field "$deb" >"$rootfs/var/lib/dpkg/status.d/$(dpkg-deb --field "$deb" Package)"
done

# Debian's "alternatives" do this when the package is configured; a container engine of today uses nftables too.
for program in iptables ip6tables; do
  [ ! -e "$rootfs/usr/sbin/$program-nft" ] || ln -s "$program-nft" "$rootfs/usr/sbin/$program"
done

# busybox stands in for the usual tools, except where it would fool people: its wget does not check certificates.
for applet in $("$rootfs/bin/busybox" --list); do
  case $applet in wget | busybox | init | linuxrc | telnet*) continue ;; esac
  [ -e "$rootfs/usr/bin/$applet" ] || [ -e "$rootfs/usr/sbin/$applet" ] || ln -s busybox "$rootfs/usr/bin/$applet"
done

mkdir -p "$rootfs"/{etc/ssl/certs,proc,sys,dev,run,root,home/node,tmp,var/tmp}
chmod 1777 "$rootfs/tmp" "$rootfs/var/tmp"
find "$rootfs/usr/share/ca-certificates" -name '*.crt' -print0 | LC_ALL=C sort -z | xargs -0 cat >"$rootfs/etc/ssl/certs/ca-certificates.crt"
rm -rf "$rootfs/usr/share/ca-certificates"
cat >"$rootfs/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
node:x:1000:1000:node:/home/node:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
PASSWD
printf 'root:x:0:\nnode:x:1000:\nnogroup:x:65534:\n' >"$rootfs/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$rootfs/etc/nsswitch.conf"

tar -C "$rootfs" --sort=name --owner=0 --group=0 --numeric-owner -c . |
  docker import --change "LABEL openflow.source=$source" --change 'ENV LANG=C.UTF-8' --change 'CMD ["/bin/sh"]' \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$tag" >/dev/null
