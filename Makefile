# make demo · make test · make lint · make bench · make docs
PYTHON ?= python3
TORCH  ?= $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
VENV   := .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test lint bench fuzz heads docs clean

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
	$(BIN)/pip install -q -c $(VENV)/constraints.txt -e ".[faces,train,video,shapes,render,dev,docs]"
	touch $@

demo: $(VENV)/run.done
	$(BIN)/steerable demo

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

# The shipped heads-64 from nothing: assets, renders, training (about two hours of one core).
heads: $(VENV)/dev.done
	$(BIN)/steerable data heads -n 40000 -o build/heads.npz
	$(BIN)/steerable train heads build/heads.npz -o build/heads
	cp build/heads/heads64.safetensors src/steerable/generators/
	cp build/heads/judge.safetensors src/steerable/score/

docs: $(VENV)/dev.done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site demo
