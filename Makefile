# `make run` is all that a first visit needs: it installs what is missing, then watches this host.
# YES=1 answers the one question; PYTHON=/path picks another interpreter (Debian's is the one that finds BCC).

SHELL := /bin/bash
PYTHON ?= /usr/bin/python3
ARGS ?=
export PYTHON YES PREFIX DESTDIR

.PHONY: help setup install uninstall run console run-cluster cluster test test-fast test-rest test-all lint test-kubernetes test-guest test-kernels bench prove soak docs site constraints objects tarball wheel packages images sboms test-packages test-s3

help:
	@echo 'make run     watch this host now             make test   each kind of real part: kernel, containers, a broker …'
	@echo 'make test-fast   style, types and unit tests: no root, no service       make test-rest   the tests that are left'
	@echo 'make test-all   both beside each other, as CI does'
	@echo 'make console   recorded alerts in a browser, at http://127.0.0.1:8778/'
	@echo 'make run-cluster   a broker, a collector, two processors and their alerts, on this machine'
	@echo 'make cluster   the same and more as containers: Kafka, syslog, SIEM topics, Prometheus; images are built here'
	@echo 'make install     link lanner into /usr/local/bin, with all stages; make uninstall removes the link'
	@echo 'make setup   install what running needs      make lint   style, types, import contract, shell scripts'
	@echo 'make prove   run public attack steps (root), and write docs/detection.md'
	@echo 'make bench   measure speed and slow-down     make soak   the long tests that CI leaves out'
	@echo 'make objects compile the eBPF program for what is built here, or for checkouts on hosts without BCC'
	@echo 'make tarball the collector with its own Python, for hosts without one; ARCH=arm64 as below'
	@echo 'make wheel   Lanner for a Python 3.11 to 3.13, with rules and the compiled eBPF program'
	@echo 'make packages   a .deb, a .rpm and the wheel, with SBOMs and checksums (ARCH=arm64: for it); make test-packages tests them'
	@echo 'make test-s3   test archives on an S3-compatible server that is built once (needs Go)'
	@echo 'make images   the container images, for a machine without an image registry (ARCH=arm64: for it)'
	@echo 'make sboms IMAGES="NAME ..."   an SBOM for each container image, and checksums'
	@echo 'make bench-live   what Lanner costs the programs beside it; ARGS=falco_rules.yaml for those rules as well'
	@echo 'make test-kubernetes   compile Kubernetes, once, and test the manifest and the Helm chart on a real node'
	@echo 'make test-kernels   check Debian'"'"'s kernels in virtual machines (root), and write docs/kernels.md'
	@echo 'make test-guest   test with a kernel of Debian in a virtual machine (needs qemu-system-x86; ARCH=arm64: qemu-system-arm)'
	@echo 'make docs    write the generated pages again  make site   the documentation as a site, in build/site'

setup:
	@deploy/setup/setup.sh run

install: setup
	@deploy/setup/install.sh install

uninstall:
	@deploy/setup/install.sh uninstall

run:
	@deploy/setup/run.sh $(ARGS)

console:
	@deploy/setup/console.sh $(ARGS)

lint:
	@deploy/setup/setup.sh test
	@deploy/setup/lint.sh

run-cluster:
	@deploy/setup/setup.sh test
	@deploy/cluster/run.sh $(ARGS)

cluster:
	@deploy/setup/setup.sh test
	@deploy/compose/cluster.sh

test:
	@deploy/setup/setup.sh test
	@deploy/setup/tests.sh 'lint fast main' $(ARGS)

test-fast:
	@deploy/setup/venv.sh test
	@deploy/setup/tests.sh 'lint fast' $(ARGS)

test-all:
	@deploy/setup/setup.sh test
	@deploy/setup/tests.sh 'lint fast main rest' $(ARGS)

test-rest:
	@deploy/setup/setup.sh test
	@deploy/setup/tests.sh rest $(ARGS)

bench:
	@deploy/setup/setup.sh test
	@.venv/bin/python -m bench $(ARGS)

prove:
	@deploy/setup/setup.sh test
	@.venv/bin/python -m bench.detection $(ARGS)

bench-live:
	@deploy/setup/setup.sh test
	@.venv/bin/python -m bench.live $(ARGS)

soak:
	@deploy/setup/setup.sh test
	@LANNER_SOAK=1 .venv/bin/python -m pytest -m soak $(ARGS)

test-kubernetes:
	@deploy/setup/setup.sh test
	@LANNER_KUBERNETES=1 .venv/bin/python -m pytest tests/kubernetes $(ARGS)

test-kernels:
	@deploy/setup/setup.sh test
	@.venv/bin/python -m bench.kernels $(ARGS)

test-guest:
	@deploy/setup/setup.sh test
	@LANNER_GUEST=$(or $(ARCH),amd64) .venv/bin/python -m pytest tests/guest $(ARGS)

docs:
	@deploy/setup/setup.sh run
	@.venv/bin/python deploy/docs/generate.py

site:
	@deploy/setup/setup.sh test
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
	@echo 'build/site/index.html; to search in it: .venv/bin/mkdocs serve'

constraints:
	@deploy/setup/constraints.sh

objects:
	@deploy/setup/objects.sh

tarball:
	@deploy/setup/venv.sh run
	@deploy/packages/build.sh tarball

wheel:
	@deploy/setup/venv.sh run
	@deploy/packages/build.sh wheel

sboms:
	@deploy/setup/venv.sh run
	@deploy/packages/build.sh images build $(IMAGES)

images:
	@deploy/setup/setup.sh test
	@ARCH=$(or $(ARCH),$(shell dpkg --print-architecture)) deploy/images/local/build.sh $(or $(TARGETS),processor notifier console collector all-in-one)

packages:
	@deploy/setup/venv.sh run
	@deploy/packages/build.sh packages

test-packages:
	@deploy/setup/setup.sh test
	@LANNER_PACKAGES=$${LANNER_PACKAGES:-1} .venv/bin/python -m pytest tests/packages $(ARGS)

VERSITYGW = 1.8.0
S3_SERVER = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/lanner-tests/versitygw-$(VERSITYGW)
test-s3:
	@deploy/setup/setup.sh test
	@test -x $(S3_SERVER)/versitygw || GOBIN=$(S3_SERVER) go install github.com/versity/versitygw/cmd/versitygw@v$(VERSITYGW)
	@LANNER_VERSITYGW=$(S3_SERVER)/versitygw .venv/bin/python -m pytest tests/s3 $(ARGS)
