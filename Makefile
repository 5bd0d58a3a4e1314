# SPDX-License-Identifier: GPL-2.0-or-later
# The front door. `make help` lists what there is.
BUILD ?= build
JOBS ?= $(shell nproc)
PREFIX ?= /usr
SEEDS ?= 20000
FIRST ?= 1000000
STORY ?=
NODES ?= 3

.PHONY: help deps build modules check check-stories check-debug demo bench lab torture install uninstall install-modules uninstall-modules install-dkms uninstall-dkms fmt lint

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1@\2/' | column -t -s@

deps: ## install every Debian package that any target needs (as root)
	@CLOGD_BUILD=$(abspath $(BUILD)) tests/install-deps.sh build check lab modules

$(BUILD)/.deps-%: tests/install-deps.sh
	@mkdir -p $(BUILD) && CLOGD_BUILD=$(abspath $(BUILD)) tests/install-deps.sh $* && touch $@

build: $(BUILD)/.deps-build ## build clogd, clogctl and the tests into build/bin
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo >$(BUILD)/cmake.log 2>&1 || { cat $(BUILD)/cmake.log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) --quiet

modules: $(BUILD)/.deps-modules ## build dm-raid1-ext, dm-log-cluster and dm-mpath for every kernel whose headers are installed
	@CLOGD_BUILD=$(abspath $(BUILD)) tests/build-modules.sh $(if $(DEBUG),CLOGD_DEBUG=1)

check: $(BUILD)/.deps-modules $(BUILD)/.deps-build $(BUILD)/.deps-check $(BUILD)/.deps-lab ## everything that must hold: lint, unit tests, sanitizers, fuzzing, 10,000 simulated clusters, the lab
	@CLOGD_BUILD=$(abspath $(BUILD)) tests/check.sh

check-stories: $(BUILD)/.deps-modules $(BUILD)/.deps-build $(BUILD)/.deps-check $(BUILD)/.deps-lab ## every story on both kernels with both targets (an hour)
	@CLOGD_BUILD=$(abspath $(BUILD)) tests/check.sh stories

check-debug: $(BUILD)/.deps-lab $(BUILD)/.deps-modules ## the modules in a kernel with KASAN, lockdep, kmemleak, failslab (built once); some stories: STORY="16 33"
	@CLOGD_BUILD=$(abspath $(BUILD)) tests/check-debug.sh $(STORY)

demo: build $(BUILD)/.deps-lab ## three real kernels share a mirror and lose a node in the middle of writing
	@CLOGD_BUILD=$(abspath $(BUILD)) python3 tests/lab/demo.py

bench: build modules $(BUILD)/.deps-lab $(BUILD)/.deps-bench ## measure, as ratios within one run, into build/bench
	@CLOGD_BUILD=$(abspath $(BUILD)) python3 tests/bench/bench.py

lab: build modules $(BUILD)/.deps-lab ## a shell on a cluster of virtual machines (NODES=3), or one story (STORY=03)
	@CLOGD_BUILD=$(abspath $(BUILD)) python3 tests/lab/shell.py "$(STORY)" "$(NODES)"

torture: build ## simulate SEEDS clusters from FIRST on
	@CLOGD_BUILD=$(abspath $(BUILD)) tests/simulate.sh $(FIRST) $(SEEDS)

# Where Pacemaker looks, whatever PREFIX is.
AGENT = /usr/lib/ocf/resource.d/clogd/clogd

install: build ## install the daemon, clogctl, manual pages, unit and agent (PREFIX, DESTDIR)
	install -D -m 755 $(BUILD)/bin/clogd $(DESTDIR)$(PREFIX)/sbin/clogd
	install -D -m 755 $(BUILD)/bin/clogctl $(DESTDIR)$(PREFIX)/sbin/clogctl
	install -D -m 644 docs/clogd.8 $(DESTDIR)$(PREFIX)/share/man/man8/clogd.8
	install -D -m 644 docs/clogctl.8 $(DESTDIR)$(PREFIX)/share/man/man8/clogctl.8
	install -D -m 644 ha-configs/clogd.service $(DESTDIR)/lib/systemd/system/clogd.service
	install -D -m 755 ha-configs/ocf/clogd $(DESTDIR)$(AGENT)
	sed -i 's|/usr/sbin/clog|$(PREFIX)/sbin/clog|g' $(DESTDIR)/lib/systemd/system/clogd.service $(DESTDIR)$(AGENT)

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/sbin/clogd $(DESTDIR)$(PREFIX)/sbin/clogctl $(DESTDIR)$(PREFIX)/share/man/man8/clogd.8 \
	  $(DESTDIR)$(PREFIX)/share/man/man8/clogctl.8 $(DESTDIR)/lib/systemd/system/clogd.service $(DESTDIR)$(AGENT)

# Which of the kernel's own targets ours stand in for: mirror, multipath.
IN_PLACE ?= mirror
STANDS_FOR_mirror = dm-raid1-ext.conf
STANDS_FOR_multipath = dm-mpath.conf
MODPROBE_FILES = $(foreach t,$(IN_PLACE),$(or $(STANDS_FOR_$(t)),$(error IN_PLACE=$(t): there are mirror and multipath)))
define INSTALL_MODULE_FILES
	install -D -m 644 -t $(DESTDIR)/etc/modprobe.d $(MODPROBE_FILES:%=ha-configs/modprobe.d/%)
	install -D -m 644 -t $(DESTDIR)/lib/udev/rules.d ha-configs/udev/58-dm-mpath-ext.rules
	install -D -m 755 -t $(DESTDIR)/usr/share/initramfs-tools/hooks ha-configs/initramfs-tools/clogd-modules
endef
MODULE_FILES = $(DESTDIR)/etc/modprobe.d/dm-raid1-ext.conf $(DESTDIR)/etc/modprobe.d/dm-mpath.conf $(DESTDIR)/lib/udev/rules.d/58-dm-mpath-ext.rules \
  $(DESTDIR)/usr/share/initramfs-tools/hooks/clogd-modules

install-modules: modules ## put the modules in place of the kernel's own targets (IN_PLACE="mirror multipath", DESTDIR); the next load takes them
	@for d in $(BUILD)/modules/*/; do \
	  release=$$(basename $$d); \
	  install -D -m 644 -t $(DESTDIR)/lib/modules/$$release/updates/clogd $$d/dm-log-cluster.ko $$d/dm-raid1-ext.ko $$d/dm-mpath.ko; \
	  [ -n "$(DESTDIR)" ] || depmod $$release; \
	done
	$(INSTALL_MODULE_FILES)

uninstall-modules: ## give the kernel's own targets their places back
	rm -f $(MODULE_FILES)
	@for d in $(DESTDIR)/lib/modules/*/updates/clogd; do \
	  [ -d $$d ] || continue; \
	  release=$$(basename $$(dirname $$(dirname $$d))); \
	  rm -rf $$d; rmdir --ignore-fail-on-non-empty $$(dirname $$d); \
	  [ -n "$(DESTDIR)" ] || depmod $$release; \
	done

VERSION := $(shell awk '/^project/ { print $$3 }' CMakeLists.txt)
DKMS_SOURCE = $(DESTDIR)/usr/src/clogd-modules-$(VERSION)

install-dkms: ## hand the modules' sources to DKMS, which builds them for every kernel to come (DESTDIR)
	for module in dm-raid1-ext dm-mpath; do \
	  install -D -m 644 -t $(DKMS_SOURCE)/$$module $$module/*.[ch] $$module/Kbuild && \
	  install -D -m 644 -t $(DKMS_SOURCE)/$$module/compat $$module/compat/*.h || exit 1; \
	done
	install -D -m 644 -t $(DKMS_SOURCE)/proto proto/channel.h
	install -m 644 ha-configs/dkms/Kbuild $(DKMS_SOURCE)/Kbuild
	sed 's/@VERSION@/$(VERSION)/' ha-configs/dkms/dkms.conf >$(DKMS_SOURCE)/dkms.conf
	$(INSTALL_MODULE_FILES)
	[ -n "$(DESTDIR)" ] || dkms install clogd-modules/$(VERSION)

uninstall-dkms: ## take them back
	[ -n "$(DESTDIR)" ] || dkms remove clogd-modules/$(VERSION) --all
	rm -rf $(DKMS_SOURCE) $(MODULE_FILES)

fmt: $(BUILD)/.deps-check ## format the sources
	@git ls-files '*.cc' '*.hh' 'dm-*/*.c' 'dm-*/*.h' | xargs clang-format -i

lint: build $(BUILD)/.deps-check $(BUILD)/.deps-lint ## clang-format, clang-tidy in full, shellcheck, checkpatch, the kernel's Coccinelle scripts
	@CLOGD_BUILD=$(abspath $(BUILD)) tests/lint.sh
