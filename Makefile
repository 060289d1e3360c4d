# make demo: everything, on this machine. make test: the tests. make setup: install alone.
PYTHON ?= python3
PY = .venv/bin/python
DEMO_ROWS = 100

.PHONY: setup demo test train benchmark plots report chat clean

setup: .venv/installed

.venv/installed: requirements.txt requirements-unsloth.txt requirements-gpu.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -r requirements.txt
	.venv/bin/pip install -q --no-deps -r requirements-unsloth.txt
	if nvidia-smi -L >/dev/null 2>&1; then .venv/bin/pip install -q -r requirements-gpu.txt; fi
	touch $@

# Data check, training, the base model and the tuned one on the same rows, their difference, plots, report.
demo: setup
	$(PY) prepare_data.py --check
	$(PY) train_8b.py --profile demo --overwrite
	$(PY) benchmark.py --profile demo --model models/demo --num-samples $(DEMO_ROWS)
	$(PY) benchmark.py --profile demo --model finetuned_demo --num-samples $(DEMO_ROWS)
	$(PY) benchmark.py --compare
	$(PY) generate_plots.py
	$(PY) generate_report.py

test: setup
	$(PY) -m pytest -q tests

train: setup
	$(PY) train_8b.py

benchmark: setup
	$(PY) benchmark.py

plots: setup
	$(PY) generate_plots.py

report: setup
	$(PY) generate_report.py

chat: setup
	$(PY) chat.py

# Checkpoints, the adapter and the converted demo model; logs, plots and RESULTS.md stay.
clean:
	rm -rf outputs finetuned_demo finetuned_qwen3_8b models unsloth_compiled_cache
