"""benchmark.py on a tiny Qwen3: real generation, resumed answers, comparison, every error in one line."""

import itertools
import json
import shutil

import pytest
import tiny

import benchmark
from config import CONFIG
from legalqa.data import records
from legalqa.model import prompt
from legalqa.model.adapter import answer_settings
from legalqa.model.base import load_for_inference
from legalqa.model.generate import generate_batch
from legalqa.model.settings import Decoding


def result_of(folder):
    (path,) = folder.glob("benchmark_*.json")
    return json.loads(path.read_text("utf-8")), path


@pytest.fixture(scope="module")
def flags(tiny_data):
    return (
        "--profile",
        "demo",
        "--train-file",
        tiny_data[0],
        "--validation-file",
        tiny_data[1],
        "--num-samples",
        "all",
        "--max-new-tokens",
        12,
    )


@pytest.fixture(scope="module")
def tuned(run_script, tiny_adapter, flags, tmp_path_factory):
    logs = tmp_path_factory.mktemp("tuned")
    done = run_script("benchmark.py", "--model", tiny_adapter, *flags, "--logs-dir", logs)
    assert done.returncode == 0, done.stderr
    return logs, done


def test_scores_every_row_once(tuned, tiny_data):
    result, _ = result_of(tuned[0])
    assert result["summary"]["num_samples"] == 12 and len({s["id"] for s in result["samples"]}) == 12
    assert {s["instruction"] for s in result["samples"]} == {
        r["instruction"] for r in records.read_records(tiny_data[1])
    }
    assert result["meta"]["kind"] == "adapter" and result["meta"]["decoding"]["max_new_tokens"] == 12
    assert result["summary"]["generation"]["new_tokens"] == sum(s["new_tokens"] for s in result["samples"])
    assert not list(tuned[0].glob("answers_*"))
    assert "reference" in tuned[1].stdout and "next" in tuned[1].stdout


def test_batched_answers_equal_single_ones(tiny_adapter, tiny_data):
    """In float32: in bfloat16 the sums of a batch round otherwise, and a random model has no favourite
    token."""
    import config

    language_model, tokenizer = load_for_inference(
        str(tiny_adapter), answer_settings(tiny_adapter, config.CONFIG)
    )
    language_model.float()
    prompts = [prompt.render_prompt(row, tokenizer) for row in records.read_records(tiny_data[1])]
    decoding = Decoding(0.0, 1.0, 1.0, 12)
    together = generate_batch(language_model, tokenizer, prompts, decoding)
    assert together == [generate_batch(language_model, tokenizer, [text], decoding)[0] for text in prompts]
    # The two tokens that come first at the most different places of these answers end the next ones: rows
    # leave the batch at different steps.
    asked = [tokenizer(text, return_tensors="pt") for text in prompts]
    made = [
        language_model.generate(**ids, max_new_tokens=12, do_sample=False)[
            0, ids["input_ids"].shape[1] :
        ].tolist()
        for ids in asked
    ]

    def lengths(ends):
        return {next((place for place, token in enumerate(ids) if token in ends), 12) for ids in made}

    pairs = itertools.combinations(sorted({token for ids in made for token in ids}), 2)
    language_model.generation_config.eos_token_id = [*max(pairs, key=lambda ends: len(lengths(ends)))]
    together = generate_batch(language_model, tokenizer, prompts, decoding)
    assert len({answer.new_tokens for answer in together}) > 2
    assert together == [generate_batch(language_model, tokenizer, [text], decoding)[0] for text in prompts]


def test_goes_on_where_it_died(tuned, run_script, tiny_adapter, flags, tmp_path):
    result, _ = result_of(tuned[0])
    first = result["samples"][0]
    kept = {
        "prompt_sha256": None,
        "prediction": "сохранённый ответ",
        "new_tokens": 3,
        "cut_off": False,
        "generation_sec": 0.1,
    }
    from transformers import AutoTokenizer

    tokenizer = prompt.prepare_tokenizer(AutoTokenizer.from_pretrained(tiny_adapter))
    kept["prompt_sha256"] = benchmark.text_sha256(prompt.render_prompt(first, tokenizer))
    answering = answer_settings(tiny_adapter, CONFIG, {"max_new_tokens": 12})
    file = benchmark.answers_file(
        {"logs_dir": tmp_path}, benchmark.fingerprint(tiny_adapter), "unsloth", answering
    )
    file.write_text(json.dumps(kept) + '\n{"prompt_sha256": "cut', "utf-8")
    done = run_script("benchmark.py", "--model", tiny_adapter, *flags, "--logs-dir", tmp_path)
    assert done.returncode == 0 and "1 of 12 answers are there" in done.stderr, done.stderr
    again, _ = result_of(tmp_path)
    assert again["samples"][0]["prediction"] == "сохранённый ответ"
    assert [s["prediction"] for s in again["samples"][1:]] == [s["prediction"] for s in result["samples"][1:]]


def test_a_flag_wins_over_what_the_adapter_was_trained_with(tuned, run_script, tiny_adapter, flags, tmp_path):
    assert "by flag    max_new_tokens 12 (the adapter's: 192)" in tuned[1].stderr
    assert (
        "as trained system_prompt '', load_in_4bit true, max_seq_length 256, temperature 0.0"
        in tuned[1].stderr
    )
    changed = ("--load-in-4bit", "false", "--system-prompt", "Ты юрист.", "--num-samples", 2)
    done = run_script("benchmark.py", "--model", tiny_adapter, *flags, *changed, "--logs-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "system_prompt 'Ты юрист.' (the adapter's: ''), load_in_4bit false (the adapter's: true)"
        in done.stderr
    )
    assert "warning: another system prompt than the adapter was trained with" in done.stderr
    trained, other = result_of(tuned[0])[0]["meta"], result_of(tmp_path)[0]["meta"]
    assert trained["load_in_4bit"] is True and other["load_in_4bit"] is False
    assert trained["prompt_sha256"] != other["prompt_sha256"]


def test_base_and_comparison(tuned, run_script, tiny_model, flags, tmp_path):
    done = run_script("benchmark.py", "--model", tiny_model, *flags, "--logs-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    base, path = result_of(tmp_path)
    assert base["meta"]["kind"] == "base"
    done = run_script("benchmark.py", "--compare", path, result_of(tuned[0])[1], "--logs-dir", tmp_path)
    assert done.returncode == 0 and "12 shared samples" in done.stdout
    (compared,) = tmp_path.glob("compare_*.json")
    entry = json.loads(compared.read_text())["metrics"]["overall"]
    assert entry["difference"] == pytest.approx(entry["b"] - entry["a"]) and entry["num_samples"] == 12


def test_predictions_need_no_torch(run_script, tmp_path):
    rows = [{**row, "prediction": row["output"]} for row in tiny.make_rows(12)]
    file = tiny.write_rows(tmp_path / "predictions.jsonl", rows)
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch was imported')")
    done = run_script(
        "benchmark.py", "--predictions", file, "--logs-dir", tmp_path, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    result, _ = result_of(tmp_path)
    assert (
        result["summary"]["metrics"]["exact_match"]["mean"] == 1 and result["summary"]["generation"] is None
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model", "no/such/adapter/here"], "neither a folder nor a hub id"),
        (["--model", "{tmp}"], "no adapter there; train one: python train_8b.py"),
        (["--predictions", "{tmp}/none.jsonl"], "no such file"),
        (["--predictions", "{tmp}/no_field.jsonl"], "has no text in prediction"),
        (["--validation-file", "{tmp}/empty.jsonl"], "no rows in it"),
        (["--compare", "{tmp}/a.json", "{tmp}/b.json"], "share 1 samples"),
        (["--compare", "--logs-dir", "{tmp}"], "no benchmark of a base model in"),
        (["--compare", "one.json"], "takes two files or none"),
        (["--num-samples", "many"], "positive number or `all`"),
        (["--temprature", "1"], "did you mean --temperature"),
    ],
)
def test_errors_are_one_line(run_stage, tiny_data, tmp_path, arguments, message):
    tiny.write_rows(tmp_path / "no_field.jsonl", tiny.make_rows(1))
    (tmp_path / "empty.jsonl").write_text("")
    for name in "ab":
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"meta": {"model": name}, "samples": [{"id": "x", "scores": {}, "language": "ru"}]})
        )
    done = run_stage(
        benchmark,
        "--profile",
        "demo",
        "--validation-file",
        tiny_data[1],
        *[a.format(tmp=tmp_path) for a in arguments],
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (
        done.returncode == 2 and len(errors) == 1 and message in errors[0] and "Traceback" not in done.stderr
    ), done.stderr


def test_adapter_without_its_base(run_script, tiny_adapter, tiny_data, tmp_path):
    copied = shutil.copytree(tiny_adapter, tmp_path / "adapter")
    settings = json.loads((copied / "adapter_config.json").read_text())
    (copied / "adapter_config.json").write_text(
        json.dumps({**settings, "base_model_name_or_path": "/nowhere/base"})
    )
    done = run_script(
        "benchmark.py", "--profile", "demo", "--model", copied, "--validation-file", tiny_data[1]
    )
    assert done.returncode == 2 and "the base model of" in done.stderr and "is not there" in done.stderr
