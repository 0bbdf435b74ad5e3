#!/bin/sh
# Gets the peers, builds what is compared, and compares: see benches/src/main.rs for the arguments, which are passed on
# (--quick for a run of a minute or two that only shows that everything works).
#
# What cannot be had here is left out of the comparison, and the report names it.
set -eu
cd "$(dirname "$0")/.."

x86=x86_64-unknown-linux-musl
policy=/usr/sbin/policy-rc.d

left_out() { echo "bench: $*: the report will do without" >&2; }

# Debian starts a server when its package is installed; a comparison needs the programs, not the services.
peers() (
    if [ "$(id -u)" = 0 ] && [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    tests/scripts/need curl busybox valgrind || left_out "curl, busybox or valgrind"
    tests/scripts/need nginx=nginx-light redis-server etcd=etcd-server || left_out "nginx, redis or etcd"
    [ -e /usr/lib/nginx/modules/ngx_nchan_module.so ] ||
        { [ "$(id -u)" = 0 ] && apt-get install --quiet=2 --yes libnginx-mod-nchan; } || left_out "nchan"
)

musl() {
    tests/scripts/need musl-gcc=musl-tools || return 1
    if [ ! -d "$(rustc --print target-libdir --target $x86)" ]; then
        command -v rustup >/dev/null && rustup target add $x86 || return 1
    fi
}

build() { # PACKAGE PROFILE FLAG...
    package=$1 profile=$2
    shift 2
    # One package at a time: together they would share the features of their dependencies, and weigh more.
    cargo build --quiet --locked --package "$package" --profile "$profile" "$@"
}

PATH=$PATH:/usr/sbin
peers
build cernvm-pairing-server release --features jemalloc
build cernvm-cluster-benches release
if musl; then
    build cernvm-pairing-server release --features jemalloc --target $x86
    build cernvm-cluster-benches release --bin bare_hyper --target $x86
    # The agent that is shipped: its size and its memory are those of this build.
    packaging/static --only-build-agent amd64 || {
        left_out "the agent as it is shipped"
        build cernvm-cluster-agent agent --target $x86
    }
    build cernvm-cluster-benches agent --bin bare_ureq --target $x86
else
    left_out "the static programs"
    build cernvm-cluster-agent agent
    build cernvm-cluster-benches agent --bin bare_ureq
fi
exec target/release/bench "$@"
