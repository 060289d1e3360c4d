"""train_8b.py run for real, through Unsloth, on a tiny Qwen3. Run: make test"""
import json

from conftest import folders


def test_training_leaves_what_the_design_says(tiny_adapter):
    logs = tiny_adapter.parent / "logs"
    (metrics_file,) = logs.glob("metrics_*.json")
    run = metrics_file.stem.removeprefix("metrics_")
    metrics, config = json.loads(metrics_file.read_text()), json.loads((logs / f"config_{run}.json").read_text())
    history = [json.loads(line) for line in (logs / f"history_{run}.jsonl").read_text().splitlines()]
    assert {p.name for p in tiny_adapter.iterdir()} >= {
        "adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "legalqa.json", "README.md"}
    assert metrics["history"] == history and metrics["total_steps"] == 6
    assert metrics["final_loss"] < metrics["initial_loss"] and metrics["eval_loss"] < metrics["initial_eval_loss"]
    assert [e["step"] for e in history if "eval_loss" in e] == [0, 2, 4, 6]
    assert config["lora_r"] == 16 and config["meta"]["data"]["train"]["num_rows"] == 40
    assert not list(tiny_adapter.parent.glob("*.tmp"))


def test_dry_run_writes_nothing(run_script, tiny_flags, tmp_path):
    done = run_script("train_8b.py", *tiny_flags, *folders(tmp_path), "--dry-run", cwd=tmp_path)
    assert done.returncode == 0 and "dry run: nothing was trained" in done.stdout
    assert "steps      15 of 8 rows" in done.stdout
    assert list(tmp_path.iterdir()) == []
