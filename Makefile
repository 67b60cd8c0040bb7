# `make demo` and `make test` set up whatever is missing, say what they do, and need nothing before them.
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format docs stub wheel sanitize bench bench-peers soak fuzz lock audit sbom image-digests ops gpu-check clean help

help: ## Say what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

demo: $(VENV)/.demo ## Serve the shipped models on a real Triton and run every task's examples
	@$(BIN)/python deploy/demo/run.py

test: $(VENV)/.dev ## Run every test that this machine can run; a skip says why
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.dev ## Style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@mkdir -p build/types/neurips16
	@for package in training export serving clients; do ln -sfn $(CURDIR)/$$package build/types/neurips16/$$package; done
	@MYPYPATH=build/types $(BIN)/mypy -p neurips16.clients -p neurips16.export -p neurips16.serving -p neurips16.training

stub: $(VENV)/.dev ## Write clients/calls.pyi, the clients' methods as editors see them, from the tasks' manifests
	@$(BIN)/python deploy/stub.py
	@$(BIN)/ruff format --quiet clients/calls.pyi
	@$(BIN)/ruff check --quiet --fix clients/calls.pyi

format: $(VENV)/.dev ## Put the code into the project's form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure: ranking against an index, and the server beside ONNX Runtime in process
	@$(BIN)/python deploy/bench/premise_index.py
	@$(BIN)/python deploy/bench/premise_index.py --premises 1000000 --sizes 257 --repeats 5
	@$(BIN)/python deploy/bench/premise_build.py
	@$(BIN)/python deploy/bench/premise_serving.py
	@$(BIN)/python deploy/bench/sound_classifier.py
	@$(BIN)/python deploy/bench/ps_roi_pool.py
	@$(BIN)/python deploy/bench/detection_serving.py
	@$(BIN)/python deploy/bench/generation_serving.py
	@$(BIN)/python deploy/bench/score.py

soak: $(VENV)/.dev ## Prove it under load and faults; SOAK_ARGS="--requests 1000 --scenario load" takes a part
	@PYTHONPATH=deploy $(BIN)/python -m soak $(SOAK_ARGS)

fuzz: $(VENV)/.dev ## Bytes that nobody should send, to every reader; FUZZ_ARGS="--seconds 3600" takes an hour
	@PYTHONPATH=deploy $(BIN)/python -m fuzz $(FUZZ_ARGS)

# Not after .dev, which would install the old versions first.
lock: ## Resolve again and write the hashes; LOCK_ARGS="--upgrade numpy" raises a version
	@test -f $(VENV)/.dev || deploy/setup.sh $(VENV) dev
	@$(BIN)/python deploy/lock.py $(LOCK_ARGS)

audit: $(VENV)/.dev ## Known holes in what is installed, and risky calls in our code; AUDIT_ARGS="--database FOLDER" is offline
	@$(BIN)/python deploy/audit.py $(AUDIT_ARGS)

sbom: $(VENV)/.dev ## What the wheel and the image are made of, as CycloneDX, in build/sbom
	@$(BIN)/python deploy/sbom.py

image-digests: ## Ask the registries for the digests of the images in deploy/ (needs Docker)
	@python3 deploy/image_digests.py

bench-peers: $(VENV)/.dev ## Measure our server beside others, which it installs under build/peers
	@$(BIN)/python deploy/peers/bench.py

ops: $(VENV)/.dev ## Build the native libraries; a missing compiler or header is an error
	@deploy/onnxruntime_headers.sh $(VENV)
	@NEURIPS16_NATIVE=ON $(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@$(BIN)/neurips16 doctor

# pip builds what NEURIPS16_NATIVE=ON wants, auditwheel tells from what the libraries need which systems they run on.
wheel: $(VENV)/.dev ## A wheel with the native libraries inside, which needs no compiler, in build/dist
	@deploy/onnxruntime_headers.sh $(VENV)
	@rm -rf build/wheel build/dist
	@NEURIPS16_NATIVE=ON $(BIN)/pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps -w build/wheel .
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/auditwheel repair --plat auto -w build/dist build/wheel/*.whl \
		>build/wheel/auditwheel.log 2>&1 || { cat build/wheel/auditwheel.log; exit 1; }
	@echo "==> $$(ls build/dist/*.whl)"

sanitize: $(VENV)/.dev ## The native code under sanitizers, fuzzers, clang-tidy; SANITIZE_ARGS="--fuzz-seconds 3600" fuzzes an hour
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python deploy/sanitize.py $(SANITIZE_ARGS)

docs: $(VENV)/.dev ## The documentation, into build/docs; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "==> build/docs/index.html"

gpu-check: $(VENV)/.dev ## On a machine with an NVIDIA GPU: kernels, shipped models, Triton and their speed; a dated report
	@$(BIN)/python deploy/gpu/check.py

# A stamp is made again when what it installs has changed; the native libraries are a part of the installation.
NATIVE := $(wildcard $(foreach kind,cc cu h,export/ops/*.$(kind) export/ops/*/*.$(kind)) serving/triton/*.cc \
	serving/backends/onnxruntime/*)

$(VENV)/.demo: pyproject.toml constraints.txt requirements/demo.txt deploy/setup.sh CMakeLists.txt $(NATIVE)
	@deploy/setup.sh $(VENV) $$(test -f $(VENV)/.dev && echo dev || echo demo)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt requirements/dev.txt deploy/setup.sh CMakeLists.txt $(NATIVE)
	@deploy/setup.sh $(VENV) dev
	@touch $@

clean: ## Remove what was built and installed
	rm -rf $(VENV) build
