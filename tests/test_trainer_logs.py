"""Histories that other tools left, read and drawn: the Trainer's state, its totals, its console output."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import generate_plots
import generate_report
from legalqa.errors import UserError
from legalqa.report import figures, training_plots
from legalqa.report.trainer_logs import read_trainer_log

FIXTURES = Path(__file__).parent / "fixtures" / "trainer"  # of transformers 5.17, a run of 60 steps
TOTALS = {  # of the reference run's logs/metrics_<run>.json: these keys and nothing else
    "train_runtime": 86147.0,
    "train_samples_per_second": 1.978,
    "train_steps_per_second": 0.247,
    "total_flos": 1.9e18,
    "train_loss": 0.7312,
    "epoch": 3.0,
}
# Two epochs of 30 steps, a loss every 5 steps, an evaluation every 20.
STATE = {
    "best_metric": None,
    "global_step": 60,
    "log_history": [
        entry
        for step in range(5, 65, 5)
        for entry in (
            {
                "epoch": step / 30,
                "grad_norm": 1.5,
                "learning_rate": 1e-4,
                "loss": 3 - step / 30,
                "step": step,
            },
            {"epoch": step / 30, "eval_loss": 2.9, "eval_runtime": 0.1, "step": step},
        )
        if "loss" in entry or step % 20 == 0
    ]
    + [{"epoch": 2.0, "total_flos": 0.0, "train_loss": 1.9, "train_runtime": 9.0, "step": 60}],
}


def console(as_text=False, bars=True, end=True):
    """What the Trainer prints of STATE: epochs rounded, in newer versions all as text, bars in between."""
    lines = ["Map: 100%|██████████| 5680/5680 [00:01<00:00, 5210.11 examples/s]"]
    for logged in STATE["log_history"]:
        if "train_runtime" in logged and not end:
            continue
        shown = {
            key: round(value, 2) if key == "epoch" else value
            for key, value in logged.items()
            if key != "step"
        }
        line = str({key: f"{value:.4g}" for key, value in shown.items()} if as_text else shown)
        bar = f" {logged['step'] * 100 // 60}%|███▎      | {logged['step']}/60 [00:02<00:09,  3.93it/s]"
        lines += [f"{bar}\r                  \r{line}" if bars else line]
        if "eval_loss" in logged and bars:
            lines += ["  0%|          | 0/5 [00:00<?, ?it/s]\r100%|██████████| 5/5 [00:00<00:00, 930.1it/s]"]
    return "\n".join(lines)


def read(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), "utf-8")
    return read_trainer_log(path)


def losses(run):
    entries = run.metrics.data["history"] if run.metrics else run.history.data
    return [(entry["step"], round(entry["loss"], 2)) for entry in entries if "loss" in entry]


EXPECTED = [(step, round(3 - step / 30, 2)) for step in range(5, 65, 5)]


def test_trainer_state(tmp_path):
    run, note = read(tmp_path / "trainer_state.json", STATE)
    assert losses(run) == EXPECTED and run.history is None
    assert note == "12 x loss, 3 x eval_loss, 12 x learning_rate"
    state = {**STATE, "log_history": [{"step": 5, "loss": 2.5}]}  # of a checkpoint, in the middle of a run
    run, note = read(tmp_path / "trainer_state.json", state)
    assert losses(run) == [(5, 2.5)] and run.metrics is None
    assert note == "1 x loss; not in it: eval_loss, learning_rate"


def test_a_real_trainers_console_says_what_its_state_says():
    console, state = (read_trainer_log(FIXTURES / name)[0] for name in ("console.log", "trainer_state.json"))
    pairs = list(zip(console.metrics.data["history"], state.metrics.data["history"], strict=True))
    assert len(pairs) == 15
    for printed, logged in pairs:
        assert printed == {key: pytest.approx(value, rel=1e-3) for key, value in logged.items()}


@pytest.mark.parametrize("as_text", [False, True])
def test_console_output_has_its_steps_counted(as_text, tmp_path):
    run, note = read(tmp_path / "train.log", console(as_text))
    assert losses(run) == EXPECTED
    evaluations = [entry["step"] for entry in run.metrics.data["history"] if "eval_loss" in entry]
    assert evaluations == [20, 40, 60]
    assert note == "12 x loss, 3 x eval_loss, 12 x learning_rate; steps counted, a loss every 5"


def test_console_output_that_was_cut_short(tmp_path):
    banner = "   \\\\   /|    Num examples = 240 | Num Epochs = 2 | Total steps = 60\n"
    run, _ = read(tmp_path / "train.log", banner + console(bars=False, end=False)[:-60])
    assert losses(run) == EXPECTED[:-1] and run.metrics is None


def test_console_output_without_a_total_has_its_losses_numbered(tmp_path):
    run, note = read(tmp_path / "train.log", console(bars=False))
    assert [step for step, _ in losses(run)] == list(range(1, 13))
    assert note.endswith("no steps in it: its losses are numbered")


def test_loss_that_is_no_number_is_one(tmp_path):
    run, _ = read(tmp_path / "train.log", "{'loss': nan, 'epoch': 0.5}\n{'loss': 1.5, 'epoch': 1.0}")
    figure, _ = training_plots.training_loss([run], "en")
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "NaN or ∞: 1 (steps 1–1)" in labels


@pytest.mark.parametrize(
    "content, message",
    [
        ("nothing here", "no training history in it"),
        ({"log_history": []}, "no training history in it"),
        ({"log_history": [{"loss": 1.0}]}, r"trainer.log is not .*: \[0\]: no key 'step'"),
        ({"log_history": {"step": 1}}, "a list is expected"),
        ({**TOTALS, "epoch": "three"}, "epoch: a number from 0"),
        ('{"log_history": [', "cannot read .*trainer.log"),
    ],
)
def test_file_that_is_no_history_is_one_line(content, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read(tmp_path / "trainer.log", content)
    with pytest.raises(UserError, match="cannot read .*: No such file"):
        read_trainer_log(tmp_path / "none")


PIECES = st.sampled_from(
    [
        "{'loss': ",
        "1.5",
        "'nan'",
        "inf",
        ", 'epoch': ",
        "0.5",
        "9" * 400,
        "-",
        "}",
        "\n",
        "\r",
        " 5%|█| 3/60 [",
    ]
    + [
        "Total steps = ",
        "Num Epochs = ",
        ",,",
        "0",
        "{'eval_loss': '2'}",
        "{'train_runtime': 1, 'epoch': 2.0}",
        "'",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_console_output_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "console.log"
    try:
        run, _ = read(path, text)
    except UserError:
        return
    steps = [step for step, _ in losses(run)]
    assert steps == sorted(steps) and all(step >= 0 for step in steps)


def test_history_is_drawn_beside_a_run_and_alone(tmp_path, capsys):
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps(STATE), "utf-8")
    generate_plots.main(["--history", str(path), "--plots-dir", str(tmp_path / "plots")])
    captured = capsys.readouterr()
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "learning_rate.png",
        "training_loss.png",
    ]
    assert f"{path}  12 x loss, 3 x eval_loss, 12 x learning_rate" in captured.err
    assert "citations.png  not drawn: no benchmark yet" in captured.err
    figures.use_style()
    figure, logs = training_plots.training_loss([read_trainer_log(path)[0]] * 2, "en")
    assert [log.run for log in logs] == ["trainer_state", "trainer_state"]
    assert any("trainer_state, 60 steps" in text.get_text() for text in figure.legends[0].get_texts())


def test_totals_of_the_reference_run_are_reported_and_not_drawn(tmp_path, capsys):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "metrics_20251203_101500.json").write_text(json.dumps(TOTALS), "utf-8")
    flags = ["--logs-dir", str(tmp_path / "logs"), "--plots-dir", str(tmp_path / "plots")]
    with pytest.raises(UserError, match="nothing to draw"):
        generate_plots.main(flags)
    err = capsys.readouterr().err
    assert "holds a Trainer's totals alone: no loss by step, no evaluation" in err
    assert "not drawn: no steps in logs/metrics_20251203_101500.json, totals alone" in err
    for language, line in (
        (
            "ru",
            "- Обучение: 23\u00a0ч 55\u00a0мин 47\u00a0с, средние потери 0,7312; "
            "потерь по шагам в журнале нет.",
        ),
        (
            "en",
            "- Training: 23\u00a0h 55\u00a0min 47\u00a0s, mean loss 0.7312; the log has no losses by step.",
        ),
    ):
        report = tmp_path / f"{language}.md"
        generate_report.main([*flags, "--language", language, "--report-file", str(report)])
        text = report.read_text("utf-8")
        assert line in text and "None" not in text and "NaN" not in text.split("## ")[1]
