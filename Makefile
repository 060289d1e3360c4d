# make demo: everything, on this machine. make test: all tests. make setup: install alone.
PYTHON ?= python3
PY = .venv/bin/python
DEMO_ROWS = 100

.PHONY: setup export-packages demo dpo demo-law test test-fast lint train benchmark plots report chat clean

setup: .venv/installed

.venv/light: requirements-light.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("error: Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -r requirements-light.txt
	touch $@

.venv/installed: .venv/light requirements.txt requirements-unsloth.txt requirements-gpu.txt
	.venv/bin/pip install -q -r requirements.txt
	.venv/bin/pip install -q --no-deps -r requirements-unsloth.txt
	if nvidia-smi -L >/dev/null 2>&1; then .venv/bin/pip install -q -r requirements-gpu.txt; fi
	touch $@

# llama.cpp, for export_model.py --format gguf and ollama; apart, because it brings a `gguf` of its own.
export-packages: .venv/export/installed

.venv/export/installed: .venv/installed requirements-export.txt
	rm -rf .venv/export
	.venv/bin/pip install -q --no-deps --target .venv/export -r requirements-export.txt
	touch $@

# Data check, training, the base model and the tuned one on the same rows, their difference, plots, report.
# On the CPU even where a GPU is: the demo model's path through CUDA is not tested.
demo: export CUDA_VISIBLE_DEVICES =
demo: setup
	$(PY) prepare_data.py --check
	$(PY) train_8b.py --profile demo --overwrite
	$(PY) benchmark.py --profile demo --model models/demo --num-samples $(DEMO_ROWS)
	$(PY) benchmark.py --profile demo --model finetuned_demo --num-samples $(DEMO_ROWS)
	$(PY) benchmark.py --compare
	$(PY) generate_plots.py
	$(PY) generate_report.py

# The same model with the text of the law open: LAW is a folder of acts saved from adilet.zan.kz.
demo-law: export CUDA_VISIBLE_DEVICES =
demo-law: setup
	@test -n "$(LAW)" || { echo "error: no law given; save acts from adilet.zan.kz, then: make demo-law LAW=folder"; exit 2; }
	@echo "demo-law: about 20 minutes on two cores; writes law/, finetuned_demo_law/ and RESULTS_LAW.md"
	$(PY) prepare_law.py $(LAW)
	$(PY) train_8b.py --profile demo --law-passages 1 --output-dir finetuned_demo_law --overwrite
	$(PY) benchmark.py --profile demo --model finetuned_demo_law --num-samples $(DEMO_ROWS) --law-passages 0
	$(PY) benchmark.py --profile demo --model finetuned_demo_law --num-samples $(DEMO_ROWS)
	$(PY) benchmark.py --compare $$(ls logs/benchmark_*.json | tail -2)
	$(PY) generate_plots.py --plots-dir plots_law
	$(PY) generate_report.py --plots-dir plots_law --report-file RESULTS_LAW.md

# After make demo: pairs of a right and a wrong answer, DPO on them, both adapters on all validation rows, the
# difference (the last two results), then base, tuned and tuned + DPO beside each other.
dpo: export CUDA_VISIBLE_DEVICES =
dpo: setup
	$(PY) prepare_pairs.py --profile demo
	$(PY) train_dpo.py --profile demo --overwrite
	$(PY) benchmark.py --profile demo --model finetuned_demo --num-samples all
	$(PY) benchmark.py --profile demo --model finetuned_demo_dpo --num-samples all
	$(PY) benchmark.py --compare $$(ls logs/benchmark_*.json | tail -2)
	$(PY) benchmark.py --compare
	$(PY) generate_plots.py
	$(PY) generate_report.py

test: setup
	$(PY) -m pytest -q

# No model and no torch: a minute after a clone. A file's tests go to one worker: what they share is made once.
test-fast: .venv/light
	$(PY) -m pytest -q -n auto --dist loadfile -m "not slow"

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/basedpyright --level error

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

# Checkpoints, adapters and the converted demo model; logs, plots and RESULTS.md stay.
clean:
	rm -rf outputs outputs_dpo finetuned_demo finetuned_demo_dpo finetuned_demo_law finetuned_qwen3_8b models unsloth_compiled_cache
