# make demo · make studio · make test · make lint · make bench · make docs
PYTHON ?= python3
TORCH  ?= $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
VENV   := .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo studio test lint bench fuzz heads leaderboard results results-inversion results-truth trained docs clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A torch that is already in the environment and in range is kept; TORCH= chooses another one.
$(VENV)/torch.done: $(BIN)/python constraints.txt
	$(BIN)/python -c "import torch, sys; v = tuple(map(int, torch.__version__.split('+')[0].split('.')[:2])); sys.exit(not (2, 6) <= v < (3,))" 2>/dev/null || $(BIN)/pip install -q "$(TORCH)"
	$(BIN)/python -c "import torch; print('torch==' + torch.__version__.split('+')[0])" > $(VENV)/constraints.txt
	touch $@

$(VENV)/run.done: $(VENV)/torch.done pyproject.toml
	$(BIN)/pip install -q -c $(VENV)/constraints.txt -e ".[faces]"
	touch $@

$(VENV)/dev.done: $(VENV)/run.done
	$(BIN)/pip install -q -c $(VENV)/constraints.txt -e ".[faces,train,video,clip,search,shapes,render,studio,dev,docs]"
	touch $@

demo: $(VENV)/run.done
	$(BIN)/steerable demo

$(VENV)/studio.done: $(VENV)/run.done
	$(BIN)/pip install -q -c $(VENV)/constraints.txt -e ".[faces,video,studio]"
	touch $@

studio: $(VENV)/studio.done
	$(BIN)/steerable studio

test: $(VENV)/dev.done lint
	$(BIN)/python -m pytest -n 2 tests

lint: $(VENV)/dev.done
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/pyright

bench: $(VENV)/dev.done
	$(BIN)/python -m benchmarks

fuzz: $(VENV)/dev.done
	$(BIN)/python tests/foreign/test_mutants.py 5000

# The shipped heads-64 from nothing: assets, renders, training (about an hour and a half of one core).
heads: $(VENV)/dev.done
	$(BIN)/steerable data heads -n 40000 -o build/heads.npz
	$(BIN)/steerable train heads build/heads.npz -o build/heads
	cp build/heads/heads64.safetensors src/steerable/generators/
	cp build/heads/judge.safetensors src/steerable/score/

# docs/leaderboard.md: every discoverer on heads-64 and its variants; goes on where it was interrupted (about half an hour on two cores).
leaderboard: $(VENV)/dev.done
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.leaderboard --pages build/leaderboard

# docs/results.md: every discoverer on ffhq-1024 (about an hour on two cores; RESULTS=--full for more).
results: $(VENV)/dev.done
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.results --page build/results.html $(RESULTS)

# docs/results-inversion.md: inverters, restoration and coarse to fine on ffhq-1024 (about half an hour on one core; RESULTS=--full for more).
results-inversion: $(VENV)/dev.done
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.inversion_results $(RESULTS)

# docs/results-truth.md: inverters on heads-64, held against true renders and true edits (about a quarter of an hour on one core).
results-truth: $(VENV)/dev.done
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.inversion_truth

# docs/results-trained.md: methods that train, to their end, on dcgan-faces-64 (some hours of one core; resumed where it was stopped).
trained: $(VENV)/dev.done
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.trained --page build/trained.html

docs: $(VENV)/dev.done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site demo
