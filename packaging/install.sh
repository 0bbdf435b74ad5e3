#!/bin/sh
# Puts the files of a part where a system expects them. `make install`, the packages and the tests all go through here.
#
#     packaging/install.sh agent|server|ucernvm BINARY
#
# BINARY is the built program of that part. DESTDIR is put before every path; for ucernvm it is a checkout of
# cernvm-micro. Nothing is enabled or started: what that takes is said at each part.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
destdir=${DESTDIR:-}

put() { # mode, file, its place
    install -D -m "$1" "$2" "$destdir$3"
}

put_units() {
    for unit; do put 644 "$here/systemd/$unit" "/usr/lib/systemd/system/$unit"; done
}

# Enable with: systemctl enable cernvm-cluster-contextualization cernvm-master-ready
install_agent() {
    put 755 "$1" /usr/bin/cernvm-cluster-agent
    put_units cernvm-cluster-contextualization.service cernvm-master-ready.service
    put 644 "$here/cloud-init/early/cernvm_cluster_early.py" /usr/lib/cernvm-cluster/cernvm_cluster_early.py
    put 644 "$here/cloud-init/early/cloud-init-local.conf" \
        /usr/lib/systemd/system/cloud-init-local.service.d/cernvm-cluster.conf
    for example in "$here"/cloud-init/examples/*; do
        put 644 "$example" "/usr/share/doc/cernvm-cluster-agent/examples/${example##*/}"
    done
}

# Enable with: systemctl enable cernvm-pairing-server.service (or .socket)
install_server() {
    put 755 "$1" /usr/bin/cernvm-pairing-server
    put_units cernvm-pairing-server.service cernvm-pairing-server.socket
    for alerts in "$here"/packaging/prometheus/*; do
        put 644 "$alerts" "/usr/share/doc/cernvm-pairing-server/examples/${alerts##*/}"
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
    "ucernvm BINARY") install_ucernvm "$2" ;;
    *) echo "usage: [DESTDIR=DIR] $0 agent|server|ucernvm BINARY" >&2; exit 64 ;;
esac
