#!/bin/sh
# Puts the files of a part where a system expects them. `make install`, the packages and the tests all go through here.
#
#     packaging/install.sh agent|server|launcher|ucernvm BINARY
#
# BINARY is the built program of that part. DESTDIR is put before every path; for ucernvm it is a checkout of
# cernvm-micro. SYSTEMD_VERSION is the oldest systemd that a package is for. ASSETS is a directory of `packaging-assets`
# with man pages, completions and the settings file; without it these are left out. Nothing is enabled or started: what
# that takes is said at each part.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
destdir=${DESTDIR:-}
assets=${ASSETS:-}

put() { # mode, file, its place
    install -D -m "$1" "$2" "$destdir$3"
}

units=/usr/lib/systemd/system

# The release of systemd that will read the units: SYSTEMD_VERSION, else that below DESTDIR, else that of this machine
# when DESTDIR is empty. Without any it is the oldest supported one.
systemd_version() {
    version=${SYSTEMD_VERSION:-}
    [ -n "$version" ] || version=$(find "$destdir/usr/lib" "$destdir/usr/lib64" "$destdir/lib" -maxdepth 3 \
        -name 'libsystemd-shared-*.so' 2>/dev/null | sed -n 's/.*shared-\([0-9]*\).*/\1/p' | sort -n | tail -n 1)
    [ -n "$version" ] || [ -n "$destdir" ] || version=$(systemctl --version 2>/dev/null | sed -n '1s/[^0-9]*\([0-9]*\).*/\1/p')
    echo "${version:-219}"
}

# The units that start PROGRAM, and other UNITs. Of a unit's sandbox the lines that this release of systemd knows: those below a `# since N`.
put_units() {
    program=$1
    shift
    for unit in $(cd "$here/systemd" && grep -l "^ExecStart=/usr/bin/$program " -- *.service) "$@"; do
        put 644 "$here/systemd/$unit" "$units/$unit"
        sandbox=$here/systemd/sandbox/${unit%.service}.conf
        [ -e "$sandbox" ] || continue
        put 644 "$sandbox" "$units/$unit.d/sandbox.conf"
        awk -v version="$(systemd_version)" '
            /^# since [0-9]+$/ { known = $3 <= version; next }
            /^\[/ { print; known = 0; next }
            known && !/^#/ && NF' "$sandbox" >"$destdir$units/$unit.d/sandbox.conf"
    done
}

# Enable with: systemctl enable cernvm-cluster-contextualization cernvm-cluster-master-ready
# cernvm-cluster-follow is for slaves that are to follow another master while they run.
install_agent() {
    put 755 "$1" /usr/bin/cernvm-cluster-agent
    put 755 "$here/packaging/replace-original" /usr/lib/cernvm-cluster/replace-original
    DESTDIR=$destdir "$here/packaging/replace-original"
    put_units cernvm-cluster-agent
    put_pages 1 cernvm-cluster-agent
    put_completions cernvm-cluster-agent
    # The unit's name in CernVM's documentation.
    ln -sfn cernvm-cluster-master-ready.service "$destdir$units/cernvm-master-ready.service"
    put 644 "$here/cloud-init/early/cernvm_cluster_early.py" /usr/lib/cernvm-cluster/cernvm_cluster_early.py
    put 644 "$here/cloud-init/early/cloud-init-local.conf" \
        /usr/lib/systemd/system/cloud-init-local.service.d/cernvm-cluster.conf
    for example in "$here"/cloud-init/examples/*; do
        put 644 "$example" "/usr/share/doc/cernvm-cluster-agent/examples/${example##*/}"
    done
}

put_pages() { # SECTION, NAME: the man pages NAME and NAME-COMMAND
    [ -n "$assets" ] || return 0
    for page in "$assets/man/$2.$1" "$assets/man/$2"-*."$1"; do
        [ -e "$page" ] || continue
        put 644 "$page" "/usr/share/man/man$1/${page##*/}"
        gzip --no-name --best --force "$destdir/usr/share/man/man$1/${page##*/}"
    done
}

put_completions() { # NAME
    [ -n "$assets" ] || return 0
    put 644 "$assets/completions/$1.bash" "/usr/share/bash-completion/completions/$1"
    put 644 "$assets/completions/_$1" "/usr/share/zsh/vendor-completions/_$1"
    put 644 "$assets/completions/$1.fish" "/usr/share/fish/vendor_completions.d/$1.fish"
}

# Enable with: systemctl enable cernvm-pairing-server.service (or .socket)
install_server() {
    put 755 "$1" /usr/bin/cernvm-pairing-server
    put_units cernvm-pairing-server cernvm-pairing-server.socket
    put_pages 8 cernvm-pairing-server
    put_completions cernvm-pairing-server
    if [ -n "$assets" ]; then
        put 644 "$assets/default/cernvm-pairing-server" /etc/default/cernvm-pairing-server
    fi
    for alerts in "$here"/packaging/prometheus/* "$here"/packaging/grafana/*; do
        put 644 "$alerts" "/usr/share/doc/cernvm-pairing-server/examples/${alerts##*/}"
    done
}

# Enable with: systemctl enable cernvm-cluster-launcher, once it has its settings
install_launcher() {
    put 755 "$1" /usr/bin/cernvm-cluster-launcher
    put_units cernvm-cluster-launcher
    put_pages 1 cernvm-cluster-launcher
    put_completions cernvm-cluster-launcher
    if [ -n "$assets" ]; then
        put 600 "$assets/default/cernvm-cluster-launcher" /etc/default/cernvm-cluster-launcher
    fi
    (cd "$here/packaging/examples/cluster-types" && find . -type f) | while read -r example; do
        put 644 "$here/packaging/examples/cluster-types/$example" \
            "/usr/share/doc/cernvm-cluster-launcher/examples/cluster-types/${example#./}"
    done
}

# The image is built as ever after that; see packaging/ucernvm/README.md.
install_ucernvm() {
    [ -n "$destdir" ] || { echo "$0: set DESTDIR to a checkout of cernvm-micro" >&2; exit 64; }
    put 755 "$1" /packages.d/cernvm-cluster-agent/bin/cernvm-cluster-agent
    for script in 08clustercontext 13clustercontext 21clustercontext; do
        put 644 "$here/packaging/ucernvm/scripts.d/$script" "/scripts.d/$script"
    done
}

case ${1:-}${2:+ BINARY} in
    "agent BINARY") install_agent "$2" ;;
    "server BINARY") install_server "$2" ;;
    "launcher BINARY") install_launcher "$2" ;;
    "ucernvm BINARY") install_ucernvm "$2" ;;
    *) echo "usage: [DESTDIR=DIR] $0 agent|server|launcher|ucernvm BINARY" >&2; exit 64 ;;
esac
