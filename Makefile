# What can be done with this repository; whatever is longer than a line is a script.

CARGO ?= cargo

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

build: protoc ## the programs, for this machine
	$(CARGO) build --workspace --locked

# The build of etcd-client wants it.
protoc:
	@tests/scripts/need "protoc=protobuf-compiler libprotobuf-dev"

demo: build ## a service, a pin, slaves that wait, and a master that boots
	$(CARGO) run --quiet --locked --package cernvm-cluster-tests --bin cluster-demo

pictures: build ## docs/images anew: the pairing page in Chromium, with real agents
	@tests/scripts/need chromium chromedriver=chromium-driver pngquant
	$(CARGO) run --quiet --locked --package cernvm-cluster-tests --bin page-pictures -- docs/images
	pngquant --force --ext .png --strip docs/images/page-*.png

test: ## all tests; installs what they need when you are root, and names it when you are not
	tests/scripts/test

races: protoc ## 10,000 races of a hostile user against the agent, and a kill at every system call of a substitution; needs root
	tests/scripts/need strace
	$(CARGO) build --locked --bin cernvm-cluster-agent --bin cernvm-pairing-server
	RACES=10000 EVERY_CALL=1 $(CARGO) test --locked --package cernvm-cluster-tests --test files -- --nocapture races interrupted

attack: protoc ## the service under attack in 256 MB for ten minutes, or ATTACK_SECONDS; of this build, or ATTACK_SERVER; needs root
	[ -n "$$ATTACK_SERVER" ] || $(CARGO) build --release --locked --package cernvm-pairing-server --features jemalloc
	ATTACK_SECONDS=$${ATTACK_SECONDS:-600} ATTACK_SERVER=$${ATTACK_SERVER:-$(CURDIR)/target/release/cernvm-pairing-server} \
		$(CARGO) test --locked --package cernvm-cluster-tests --test attack -- --nocapture

test-openstack: ## clusters of the shipped types on a real OpenStack, and what goes wrong there; needs root and 3 GB
	tests/scripts/openstack

boot-full: ## Debian 12 and 13 as full virtual machines, master and slave at once: the time line of each; needs root
	tests/scripts/boot boot-full

example-qemu: protoc ## packaging/examples/qemu to its end: a master and two slaves as virtual machines; needs root
	tests/scripts/example-qemu

boot-times: ## what the agent adds to a slave's boot; needs root
	tests/scripts/boot boot-times

lint: protoc ## format, clippy, and what may be in the dependency tree
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- --deny warnings
	tests/scripts/deny
	fuzz/lint

static: ## the programs for x86_64 and aarch64 musl, checked and weighed
	packaging/static

order: ## agent/order.ld anew: which functions of the agent run while a cluster comes up, so that they lie together
	packaging/order

packages: ## .deb, .rpm, tarball and OCI image of the programs for amd64 and arm64, in target/packages/out
	packaging/packages $(ARGS)

reproduce: ## the packages twice, in two directories: the same bytes?
	packaging/reproduce $(ARGS)

install: ## the static programs, units and examples below DESTDIR
	packaging/install.sh agent target/x86_64-unknown-linux-musl/agent/cernvm-cluster-agent
	packaging/install.sh server target/x86_64-unknown-linux-musl/release/cernvm-pairing-server

fuzz: protoc ## both programs, each target for a minute or SECONDS_EACH=N; ARGS=TARGET for one of them
	fuzz/run $(ARGS)

bench: protoc ## the service and the agent beside their peers, on a quiet machine; ARGS=--quick for a look at it
	benches/run.sh $(ARGS)

capacity: protoc ## how far one service goes: a simulation of 10,000 and 100,000 VMs; ARGS=1000000 for a million
	$(CARGO) run --quiet --release --locked --package cernvm-cluster-benches --bin capacity -- \
		--results docs/performance/results.json $(ARGS)

.PHONY: help build protoc demo pictures test test-openstack races boot-full boot-times example-qemu lint static order packages reproduce install fuzz bench capacity
