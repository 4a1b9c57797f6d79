# The commands of this repository. `make` without a target lists them. They need python3 (3.11 or newer, with venv) and
# make. Everything else is installed from the locks into .venv. A test that needs more is skipped with a reason.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
UV     := .cache/uv/bin/uv

# Each step has a stamp, so that a change repeats only its own step. The steps are: the environment, the product, the
# packages for tests and checks, and the packages for comparisons.
CREATED   := $(VENV)/.created
INSTALLED := $(VENV)/.installed
EQUIPPED  := $(VENV)/.equipped
RIVALLED  := $(VENV)/.rivalled

# Options for the commands below: make test ARGS="-k watch", make serve ARGS="--listen localhost:7441"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help serve test docs faults security operation million image-test fuzz torture ha-up ha-torture oldest check fix audit bench \
	generate lock node clean

help: ## List these commands.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

serve: $(INSTALLED) ## Start a server on SQLite, with its data in .data/.
	@mkdir -p .data
	@exec $(BIN)/lamina-server serve --database sqlite:///.data/lamina.db $(ARGS)

# One process more than there are cores, because many tests wait for a process or for a moment.
WORKERS = $$(( $$(getconf _NPROCESSORS_ONLN) + 1 ))

test: $(EQUIPPED) node ## Run the test suite.
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --maxprocesses=8 --dist=worksteal --ignore=tests/docs \
		--ignore=tests/security $(addprefix --ignore=,$(FAULTS) $(OPERATION)) $(ARGS)

# Not a part of `make test`, because each line of a page starts its own Python.
docs: $(EQUIPPED) ## Run every code block of the READMEs, the tutorial and the recipes as they are printed.
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=8 tests/docs $(ARGS)

# Not a part of `make test`, because these tests are slow and most changes do not concern them.
faults: $(EQUIPPED) ## Run the tests that break disks, databases, networks and servers, and other slow ones, in minutes.
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=8 $(FAULTS) $(ARGS)
# Those of `restore` and `verify` damage databases, byte by byte. The next two make a PostgreSQL wait, fail and end.
# The last three break nothing: they start programs by the dozen.
FAULTS := tests/faults tests/server/restore tests/server/store/test_verify.py tests/server/commits/test_giants.py \
	tests/conformance/test_round_trips.py tests/benchmarks tests/cli/verbs/test_completion.py \
	tests/client/served/test_gevent.py

# Not a part of `make test`, because tables of all methods and callers take minutes.
security: $(EQUIPPED) ## Run the tests of who may do what, of hostile peers, and of what must not get out.
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=8 tests/security $(ARGS)

# Not a part of `make test`, because each test starts programs as an operator would.
operation: $(EQUIPPED) ## Run the tests of what operators do: probes, metrics, upgrades, backups.
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=8 $(OPERATION) $(ARGS)
# The others than those of the folder are about compaction, on both databases.
OPERATION := tests/operation tests/conformance/test_compaction.py tests/client/served/test_compaction.py \
	tests/server/rpc/test_compaction.py tests/server/store/test_compact.py

# Not in CI: it takes minutes, and measures. ARGS="--versions 100000"
million: $(EQUIPPED) ## Compact a config of a million versions, on both databases, while others commit to it.
	$(BIN)/python -m tests.operation.million sqlite $(ARGS)
	$(BIN)/python -m tests.operation.million postgresql $(ARGS)

# Needs root, and Debian's buildah and debootstrap; no container engine, and no registry of images. Not in CI: the base
# alone takes a minute.
image-test: $(EQUIPPED) ## Build the image, and run it as an orchestrator would, in minutes.
	$(BIN)/python -m tests.image

# `make security` has a short form with a seed. ARGS="--seconds 60 --only frames"
fuzz: $(EQUIPPED) ## Fuzz requests and HTTP/2 frames, for ten minutes each.
	$(BIN)/python -m tests.security.fuzzing $(ARGS)

torture: $(EQUIPPED) ## Kill servers and databases and cut watches for half an hour, and check that nothing is lost.
	$(BIN)/python -m tests.faults $(ARGS)

# Both need root and Debian's patroni, etcd-server, python3-etcd and haproxy: server/ops/HIGH_AVAILABILITY.md.
ha-up: $(EQUIPPED) ## Start three PostgreSQL with Patroni, and two servers, until Ctrl-C.
	$(BIN)/python -m tests.ha up $(ARGS)

ha-torture: $(EQUIPPED) ## Kill and freeze leading PostgreSQLs, in ten minutes, and check that nothing is lost.
	$(BIN)/python -m tests.ha torture $(ARGS)

# Services that still need protobuf 6 use the SDK. So this runs the SDK's tests again in an environment with the floors
# of `dependencies` in pyproject.toml. All other packages have their locked versions. The server runs in the usual
# environment, on one database. Only tests that touch gRPC or protobuf can have another result. The server of
# lamina.testing is in the same process, so it has the floors too.
oldest: $(EQUIPPED) ## Test the SDK on the oldest grpcio and protobuf that it accepts.
	$(PYTHON) -m venv --clear $(OLDEST)
	sed -nE 's/^([a-z0-9-]+==[^ ;]+).*/\1/p' tests/requirements.lock | grep -vE '^($(FLOORS))=' > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip --quiet --disable-pip-version-check install -c $(OLDEST)/constraints.txt \
		$$(sed -nE 's/^  "($(FLOORS))>=([0-9.]+).*/\1==\2/p' pyproject.toml) \
		alembic click gevent hypothesis openfeature-sdk 'psycopg[binary]' pydantic-settings pytest pytest-asyncio \
		pytest-timeout pytest-xdist ruamel.yaml sqlalchemy structlog tomli-w trustme
	PYTHONPATH=$(CURDIR)/client:$(CURDIR)/protos:$(CURDIR)/server LAMINA_TEST_SERVER_PYTHON=$(CURDIR)/$(BIN)/python \
		$(OLDEST)/bin/python -m pytest -k 'not postgresql' $(ON_OLDEST) $(ARGS)
OLDEST := .cache/oldest
ON_OLDEST := tests/client/scripted/grpc tests/client/scripted/wire tests/client/scripted/streams \
	tests/client/scripted/mapping/test_values.py tests/e2e/test_bare_stubs.py \
	$(addprefix tests/client/served/test_,$(addsuffix .py,breaks config live live_breaks live_offline moving resuming \
	testing verify watch))
FLOORS := grpcio|protobuf|googleapis-common-protos|grpcio-health-checking|grpcio-reflection

check: $(EQUIPPED) ## Run every check that is not a test.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --warnings
	$(BIN)/lint-imports --no-cache
	$(BIN)/python protos/generate.py --check
	$(BIN)/buf lint protos
	$(BIN)/hadolint Dockerfile

fix: $(EQUIPPED) ## Repair what `make check` finds, where that is automatic.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python protos/generate.py

# Not a part of what CI runs, because it asks a service on the network. Its other parts have tests in tests/security.
audit: $(EQUIPPED) ## Build the wheel twice, list what it installs, and look for known vulnerabilities.
	$(BIN)/python -m tests.security.supply_chain $(ARGS)

bench: $(RIVALLED) ## Compare with etcd, the floor and full copies: ARGS="--only 3,4".
	$(BIN)/python -m tests.benchmarks $(ARGS)

generate: ## Generate the protobuf code from the .proto.
	$(PYTHON) protos/generate.py

# The locks are for any platform and any Python from 3.11 on. They have hashes, and no address of a registry. The second
# lock contains the first, so that one environment serves both. The third lock adds what only `make bench` needs. The
# locks keep extras: an old pip takes `coverage[toml]` for another package than a locked `coverage`, and refuses it
# because it finds no hash.
lock: $(UV) ## Resolve the newest dependencies into all locks.
	$(COMPILE) $(PROJECT) --group build -o requirements.lock
	$(COMPILE) $(PROJECT) --group dev -c requirements.lock -o tests/requirements.lock
	$(COMPILE) --group bench -c tests/requirements.lock -o tests/benchmarks/requirements.lock
COMPILE = $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --no-strip-extras
PROJECT = pyproject.toml --extra server --extra cli --extra otel

# The packages of the Node test. Without npm nothing is installed, and the test is skipped.
node: tests/e2e/node/node_modules/.package-lock.json
tests/e2e/node/node_modules/.package-lock.json: tests/e2e/node/package-lock.json
	@cd $(<D) && { npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json; } \
		|| echo "no npm here, or no registry behind it: the Node test will be skipped"

clean: ## Remove everything that was made here, except the server's data.
	rm -rf $(VENV) .cache .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist tests/e2e/node/node_modules
	find client protos server tests -name __pycache__ -prune -exec rm -rf {} +

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Lamina needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# Without isolation: the lock has the build tools, so this step needs no network and no unlocked package.
$(INSTALLED): requirements.lock pyproject.toml $(CREATED)
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(EQUIPPED): tests/requirements.lock $(INSTALLED)
	$(PIP) install --require-hashes -r tests/requirements.lock
	@touch $@

$(RIVALLED): tests/benchmarks/requirements.lock $(EQUIPPED)
	$(PIP) install --require-hashes -r tests/benchmarks/requirements.lock
	@touch $@

$(UV): $(CREATED)
	$(PYTHON) -m venv --clear .cache/uv
	.cache/uv/bin/python -m pip --quiet --disable-pip-version-check install uv
