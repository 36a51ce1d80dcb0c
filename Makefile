# The commands people type. Each does all of its own setup: Python packages go into .venv and .tools, from the lock files
# in requirements/ and by pip as you have configured it; missing system packages come by apt-get.

PYTHON ?= python3
ARGS ?=
FLOOR ?= core
COUNT ?= 50
SEED ?=

export PYTHON
export PATH := $(PATH):/usr/sbin:/sbin

BIN := .venv/bin
SERIAL_TESTS := tests/crash
CLIENTS := .tools/awscli .tools/boto3-2021 .tools/boto3-2023

.DEFAULT_GOAL := help
.PHONY: help setup serve check test soak mutate tour bench coverage slow trace lock clean clients disk-tools image-tools backup-tools fault-tools

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

setup: .venv/project  ## make .venv, with everything that development needs

serve: setup  ## run a server; ARGS="--data DIR --port N" are passed on
	$(BIN)/snapstone serve $(ARGS)

check: setup  ## format, lint, types, layers, unit tests that need no server
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n 2 -m "not served" tests/unit tests/tidy

test: disk-tools image-tools fault-tools check clients  ## all tests, except the long ones of `make soak`
	$(BIN)/pytest -q -n 2 -m served tests/unit
	$(BIN)/pytest -q -n 2 -m "not soak" --dist loadgroup tests --ignore=tests/unit --ignore=tests/tidy $(SERIAL_TESTS:%=--ignore=%)
	$(BIN)/pytest -q $(SERIAL_TESTS)

soak: setup fault-tools disk-tools  ## inject power cuts, failing calls, kills, damage and clock jumps, by the thousand; ARGS="--list"
	$(BIN)/python -m tests.faults $(ARGS)

mutate: setup disk-tools image-tools fault-tools clients  ## change code of FLOOR in COUNT places, one at a time, and list changes that no test detects; SEED
	$(BIN)/python -m tests.mutation $(FLOOR) --count $(COUNT) $(if $(SEED),--seed $(SEED)) $(ARGS)

tour: setup disk-tools  ## the main workflow on a real ext4 image in three generations, step by step
	$(BIN)/python -m tour

bench: setup backup-tools  ## measure speed and size against their targets
	$(BIN)/python -m bench $(ARGS)

coverage: setup  ## lines and branches that the tests of `make check` run, floor by floor
	$(BIN)/pytest -q -n 2 -m "not served" tests/unit --cov=src/snapstone --cov-branch --cov-report= $(ARGS)
	$(BIN)/python -m tests.tidy.coverage_by_floor

slow: setup  ## list the tests that are too slow for `make check` in tests/slow.txt
	$(BIN)/python -m tests.tidy.slow

trace: setup  ## which files a request enters, and counts of modules
	$(BIN)/python -m tests.tidy.trace $(ARGS)

lock: .tools/lock/ready  ## rewrite the lock files
	setup/lock .tools/lock/bin/uv

clean:  ## remove everything that setup created
	rm -rf .venv .tools build dist

clients: $(CLIENTS:%=%/ready)
	@setup/system-package /usr/bin/aws awscli

disk-tools:
	@setup/system-package mke2fs e2fsprogs
	@setup/system-package mkfs.xfs xfsprogs
	@setup/system-package mkfs.btrfs btrfs-progs

image-tools:
	@setup/system-package qemu-nbd qemu-utils

fault-tools:
	@setup/system-package gcc gcc libc6-dev

backup-tools:
	@setup/system-package restic restic
	@setup/system-package borg borgbackup

.venv/ready: requirements/dev.txt setup/environment
	setup/environment .venv $<

.venv/project: .venv/ready pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.tools/%/ready: requirements/%.txt setup/environment
	setup/environment .tools/$* $<
