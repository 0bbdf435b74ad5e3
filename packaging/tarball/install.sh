#!/bin/sh
# Puts the files of this tarball into the system, or takes them away. Needs root. Settings in /etc stay as they are.
#
#     ./install.sh [install|remove]
#
# DESTDIR is put before every path.
set -eu
cd "$(dirname "$0")/root"
destdir=${DESTDIR:-}

fail() { echo "install.sh: $*" >&2; exit 1; }

# A file that a package manager put there is its own to replace.
refuse_packaged() {
    for program in usr/bin/*; do
        if dpkg-query --search "/$program" >/dev/null 2>&1 || rpm --query --file "/$program" >/dev/null 2>&1; then
            fail "/$program belongs to an installed package. Next: upgrade that package, or remove it first"
        fi
    done
}

refuse_full_disk() {
    mkdir -p "$destdir/usr"
    need=$(du -sk . | cut -f 1)
    free=$(df -Pk "$destdir/usr" | awk 'NR == 2 { print $4 }')
    [ "$free" -gt "$need" ] || fail "$destdir/usr has $free KiB free, and $need KiB are needed. Next: make room"
}

# The copies lie beside their places until all are there, so that nothing is half installed.
install_files() {
    trap 'find . ! -type d | while read -r file; do rm -f "$destdir/$file.new"; done' EXIT
    find . ! -type d | while read -r file; do
        mkdir -p "$destdir/${file%/*}"
        cp -dp "$file" "$destdir/$file.new" || exit 1
    done
    find . ! -type d | while read -r file; do
        place=$destdir/${file#./}
        case $file in
            ./etc/*) if [ -e "$place" ]; then echo "kept $place"; continue; fi ;;
        esac
        mv -f "$place.new" "$place"
    done
}

remove_files() {
    find . ! -type d ! -path './etc/*' | while read -r file; do rm -f "$destdir/$file"; done
    find . -depth -type d -path '*cernvm*' | while read -r directory; do
        rmdir "$destdir/$directory" 2>/dev/null || :
    done
}

reload() {
    if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
}

units() { find . -path '*/systemd/system/cernvm-*' \( -name '*.service' -o -name '*.socket' \) | sed 's,.*/,,' | sort | xargs; }

[ -n "$destdir" ] || [ "$(id -u)" = 0 ] || { echo "install.sh: not root. Next: run it with sudo" >&2; exit 77; }
case ${1:-install} in
    install)
        [ -n "$destdir" ] || refuse_packaged
        refuse_full_disk
        install_files
        if [ -e usr/lib/cernvm-cluster/replace-original ]; then
            DESTDIR=$destdir usr/lib/cernvm-cluster/replace-original
        fi
        reload
        for program in usr/bin/*; do
            other=$destdir/usr/local/bin/${program##*/}
            if [ -e "$other" ]; then
                echo "note: $other stays, and comes first in PATH. Next: remove it, if it is an older copy"
            fi
        done
        echo "installed. Next: systemctl enable what you want of: $(units)"
        ;;
    remove)
        if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then
            # shellcheck disable=SC2046 # a list of units
            systemctl disable --now $(units) 2>/dev/null || :
        fi
        remove_files
        reload
        echo "removed. Settings in /etc and data stay"
        ;;
    *) echo "usage: $0 [install|remove]" >&2; exit 64 ;;
esac
