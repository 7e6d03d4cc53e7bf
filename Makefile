# The front door: what can be done here, each in a line or two. Longer things are scripts.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
bin := $(or $(CARGO_TARGET_DIR),target)/release
# Queries are checked against .sqlx/, so that a build needs no database.
export SQLX_OFFLINE ?= true

.PHONY: help up test check bench dev images n8n install sqlx dashboard docker stop

help: ## Say what can be done
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

up: install images dashboard ## Install, build and run Openflow on this host (settings: OPENFLOW_*, see README)
	cargo build --release --locked --bin openflow --bin openflow-proxy
	exec $(bin)/openflow up

test: ## Check and test everything
	scripts/test.sh

check: ## The checks of `make test` alone: format, lints, architecture, generated files
	scripts/test.sh check

bench: images n8n dashboard ## Measure, beside nginx, a bare `docker run`, Mosquitto and tar (docs/PERFORMANCE.md)
	cargo build --release --locked --workspace --bins --examples
	bench/proxy.sh $(bin)/openflow-proxy
	bench/backup.sh $(bin)/examples/bench
	cd e2e && npm ci --no-audit --no-fund
	OPENFLOW_TEST_BIN=$(bin)/openflow node bench/create.mjs
	OPENFLOW_TEST_BIN=$(bin)/openflow node bench/n8n.mjs
	TARGET=$(bin) node bench/mqtt.mjs

dev: docker ## Run from the sources with the debug build; in another terminal: npm run dev in manager/dashboard
	cargo run --locked --bin openflow -- up

images: docker ## Build the image of Node-RED instances
	images/build.sh node-red

n8n: docker ## Build the image of n8n instances; takes some ten minutes, and is done once
	images/build.sh n8n

install: ## Install what the machine lacks (Debian, Ubuntu)
	scripts/install.sh

docker: ## Start the Docker Engine if it does not run
	scripts/docker.sh

sqlx: ## Write .sqlx/ anew after a change of queries or migrations
	scripts/sqlx-prepare.sh

dashboard: ## Build the dashboard, which the manager embeds
	cd manager/dashboard && npm ci --no-audit --no-fund && npm run build

stop: ## Stop the PostgreSQL of the tests
	scripts/test-postgres.sh stop
