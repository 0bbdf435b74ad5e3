#!/bin/sh
# Puts the files of this tarball into the system, or takes them away. Needs root. Settings in /etc stay as they are.
#
#     ./install.sh [install|remove]
set -eu
cd "$(dirname "$0")/root"
[ "$(id -u)" = 0 ] || { echo "install.sh: not root. Next: run it with sudo" >&2; exit 77; }

case ${1:-install} in
    install)
        find . -type f | while read -r file; do
            place=/${file#./}
            case $place in
                /etc/*) [ ! -e "$place" ] || { echo "kept $place"; continue; } ;;
            esac
            mkdir -p "${place%/*}"
            cp -p "$file" "$place.new"
            mv "$place.new" "$place"
        done
        ;;
    remove)
        find . -type f ! -path './etc/*' | while read -r file; do rm -f "/${file#./}"; done
        ;;
    *) echo "usage: $0 [install|remove]" >&2; exit 64 ;;
esac
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
echo "done. Next: systemctl enable the units that you want: $(find . -name '*.service' -o -name '*.socket' | sed 's,.*/,,' | xargs)"
