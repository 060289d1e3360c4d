"""A DPO run in the logs: which run it belongs to, its section of the report, its picture."""

import json
import re
import shutil
from pathlib import Path

import pytest

import benchmark
import generate_plots
import generate_report
from legalqa.report.logs import Shelf, choose
from legalqa.report.words import LANGUAGES
from legalqa.scoring.metric_table import metric_names

FIXTURES = Path(__file__).parent / "fixtures" / "logs"
RUN, ADAPTER, DPO, DPO_BENCHMARK = "20260301_100000", "20260301_103000", "20260302_080000", "20260302_090000"


def copy(folder, stage, old, new, **change):
    data = json.loads((FIXTURES / f"{stage}_{old}.json").read_text("utf-8"))
    data["meta"] |= {"run": new, **change.pop("meta", {})}
    (folder / f"{stage}_{new}.json").write_text(json.dumps({**data, **change}), "utf-8")


def history():
    trained = [
        {"step": 5 * i, "epoch": i / 10, "loss": 0.69 - i / 30, "margin": i / 12, "accuracy": 0.5 + i / 25}
        for i in range(1, 11)
    ]
    held = [
        {"step": 5 * i, "eval_loss": 0.69, "eval_margin": i / 15, "eval_accuracy": 0.5 + i / 25}
        for i in (0, 5, 10)
    ]
    return sorted(trained + held, key=lambda entry: entry["step"])


@pytest.fixture
def logs_dir(tmp_path):
    """The fixture's logs and, beside them, a DPO run that goes on from their run, with its benchmark."""
    folder = tmp_path / "logs"
    shutil.copytree(FIXTURES, folder)
    adapter = {"path": "finetuned_demo", "sha256": "0", "run": RUN}
    copy(folder, "config", RUN, DPO, meta={"from_adapter": adapter}, output_dir="finetuned_demo_dpo",
         dpo_beta=0.1, dpo_sft_weight=0.25, learning_rate=5e-6)  # fmt: skip
    copy(folder, "metrics", RUN, DPO, history=history(), accuracy=0.95, eval_accuracy=0.875, eval_margin=1.25,
         eval_chosen_reward=-0.5, eval_rejected_reward=-1.75, initial_loss=0.6931)  # fmt: skip
    of_dpo = {"path": "finetuned_demo_dpo", "sha256": "1", "run": DPO, "from_run": RUN}
    meta = {"kind": "dpo", "model": "finetuned_demo_dpo", "adapter": of_dpo}
    copy(folder, "benchmark", ADAPTER, DPO_BENCHMARK, meta=meta)
    copy(folder, "benchmark", ADAPTER, ADAPTER, meta={"adapter": adapter})
    return folder


def compare(folder):
    compared = {side: f"logs/benchmark_{run}.json" for side, run in zip("ab", (ADAPTER, DPO_BENCHMARK))}
    copy(folder, "compare", "20260301_103500", "20260302_100000", meta=compared)


@pytest.mark.parametrize("asked", [None, RUN, ADAPTER, DPO, DPO_BENCHMARK])
def test_it_stands_beside_the_run_it_goes_on_from(logs_dir, asked, capsys):
    logs = choose(Shelf(logs_dir), asked)
    assert (logs.metrics.run, logs.benchmark.run) == (RUN, ADAPTER)
    dpo = logs.dpo
    assert (dpo.config.run, dpo.metrics.run, dpo.benchmark.run) == (DPO, DPO, DPO_BENCHMARK)
    assert dpo.base == logs.benchmark and dpo.compare is None and capsys.readouterr().err == ""
    compare(logs_dir)
    assert choose(Shelf(logs_dir), asked).dpo.compare.run == "20260302_100000"


def test_alone_it_is_shown_as_any_training(logs_dir):
    for path in logs_dir.glob(f"*_{RUN}.json*"):
        path.unlink()
    logs = choose(Shelf(logs_dir))
    assert logs.metrics.run == DPO and logs.benchmark.run == DPO_BENCHMARK and logs.dpo is None


def report(folder, language):
    file, plots = folder.parent / "RESULTS.md", folder.parent / "plots"
    places = {"--logs-dir": folder, "--plots-dir": plots, "--report-file": file, "--language": language}
    assert generate_report.main([str(word) for flag in places.items() for word in flag]) == 0
    return file.read_text("utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_report_has_a_section(logs_dir, language):
    compare(logs_dir)
    text = report(logs_dir, language)
    (section,) = [part for part in text.split("\n## ") if part.startswith("DPO")]
    point = "," if language == "ru" else "."
    values = dict(re.findall(r"^\| [^|]+ \| `([\w.]+)` \| ([^|]+) \|$", section, re.M))
    assert values["meta.run"] == f"`{DPO}`" and values["meta.from_adapter.run"] == f"`{RUN}`"
    assert values["eval_accuracy"].startswith(f"87{point}5") and values["eval_margin"] == f"1{point}2500"
    assert values["dpo_sft_weight"] == f"0{point}25" and values["eval_chosen_reward"] == f"−0{point}5000"
    scores = re.findall(r"^\| [^|]+ [↑↓] \| `(\w+)` \| [^|]+ \| [^|]+ \| ([^|]+) \| [^|]+ \|$", section, re.M)
    shown = metric_names("published", "text", "health") + metric_names("citation")
    assert tuple(name for name, _ in scores) == shown and all(cell for _, cell in scores)
    assert "logs/compare_20260302_100000.json" in section
    assert text.replace("\n## " + section, "") == report_without(logs_dir, language)


def report_without(logs_dir, language):
    """The report of the same logs where no DPO run is among them."""
    for path in logs_dir.glob("*_20260302_*"):
        path.unlink()
    return report(logs_dir, language)


def test_what_was_not_run_is_said(logs_dir):
    text = report(logs_dir, "en")
    assert f"not run (`python benchmark.py --compare logs/benchmark_{ADAPTER}.json" in text
    (logs_dir / f"benchmark_{DPO_BENCHMARK}.json").unlink()
    assert "not run (`python benchmark.py --model finetuned_demo_dpo`)" in report(logs_dir, "en")


@pytest.mark.slow
def test_the_picture_is_drawn_and_shown(logs_dir, capsys):
    plots = logs_dir.parent / "plots"
    for language in LANGUAGES:
        generate_plots.main(["--logs-dir", str(logs_dir), "--plots-dir", str(plots), "--language", language])
        assert "8 of 8 pictures" in capsys.readouterr().out
        assert f"logs/metrics_{DPO}.json" in generate_report.picture_sources(plots / "dpo.png")
        assert "](plots/dpo.png)" in report(logs_dir, language)
        capsys.readouterr()


def test_without_dpo_nothing_is_said_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generate_plots.figures, "save", lambda *_: None)  # only their names matter
    generate_plots.main(["--logs-dir", str(FIXTURES), "--plots-dir", str(tmp_path)])
    done = capsys.readouterr()
    assert "dpo.png" not in done.out + done.err and "7 of 7 pictures" in done.out


def test_compare_names_the_three(logs_dir, capsys):
    """Base, tuned, tuned + DPO, without naming a file."""
    assert benchmark.newest_of_each(logs_dir)[2].endswith(f"benchmark_{DPO_BENCHMARK}.json")
    assert benchmark.main(["--compare", "--logs-dir", str(logs_dir)]) == 0
    (compared,) = logs_dir.glob("models_*.json")
    models = json.loads(compared.read_text("utf-8"))["models"]
    assert [model["kind"] for model in models] == ["base", "adapter", "dpo"]
    assert "finetuned_demo_dpo" in capsys.readouterr().out
    (logs_dir / f"benchmark_{DPO_BENCHMARK}.json").unlink()
    assert len(benchmark.newest_of_each(logs_dir)) == 2
