"""Exports of tiny models: merged and GGUF answer as the adapter does, broken ones are refused."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import tiny
from conftest import REPOSITORY

import benchmark
import export_model
from config import CONFIG
from legalqa.errors import UserError
from legalqa.files import read_json, write_json
from legalqa.model import export, llama_cpp, merge, ollama, quantize, replay
from legalqa.model.adapter import AdapterSettings, answer_settings, is_merged
from legalqa.model.base import load_tokenizer
from legalqa.model.settings import Decoding

SYSTEM_PROMPT = 'Ты "юрист".\nОтвечай кратко.'
LAYERS = ["q_proj", "v_proj", "down_proj"]
DECODING = Decoding(temperature=0.0, top_p=1.0, repetition_penalty=1.0, max_new_tokens=24)
needs_llama_cpp = pytest.mark.skipif(
    not (llama_cpp.PACKAGES / "xllamacpp").exists(), reason=f"needs llama.cpp: {llama_cpp.INSTALL}"
)


def make_adapter(base, folder, system_prompt=""):
    """A plain LoRA of `base` that changes every answer, with the files that train_8b.py saves beside it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        LoraConfig(r=8, lora_alpha=16, target_modules=LAYERS, task_type="CAUSAL_LM"),
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer = load_tokenizer(str(base))
    tokenizer.save_pretrained(folder)
    config = CONFIG | asdict(DECODING) | {"model_name": str(base), "system_prompt": system_prompt}
    AdapterSettings.of_run(config, tokenizer, "20260101_000000", "0" * 64).save(folder)
    return folder


def sharpen(folder):
    """Make the head of a random model decided, as a trained one's is: rounding then flips no token."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    head = "lm_head.weight" if "lm_head.weight" in weights else "model.embed_tokens.weight"
    weights[head] = weights[head] * 20
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def make_gemma(folder):
    """A tiny Gemma 3 with the demo's kind of tokenizer: SentencePiece by byte fallback, its turn tokens."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    from legalqa.model import demo

    control = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    letters = sorted(set("".join(text for row in tiny.make_rows(50) for text in row.values())) - {" "})
    pieces = ["\n\n", "ст", "во", "пр", "\u2581в", "\u2581ст", "\u2581\u2581"]
    tokens = control + bytes_ + pieces + ["\u2581", "\n", *letters, *"useromdl"]
    tokens = list(dict.fromkeys(tokens))
    types = [demo.CONTROL if t in control else demo.BYTE if t in bytes_ else 1 for t in tokens]
    types[tokens.index("\n\n")] = demo.USER_DEFINED
    tokenizer = demo.make_tokenizer(tokens, types)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    Gemma3ForCausalLM(
        Gemma3TextConfig(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=128,
            query_pre_attn_scalar=128,
            sliding_window=512,
            max_position_embeddings=2048,
            layer_types=["sliding_attention"] * 2,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).to(torch.bfloat16).save_pretrained(folder)
    (folder / "NOTICE").write_text("terms\n")
    return folder


def make_qwen(folder):
    """A tiny Qwen3 with Qwen's real vocabulary."""
    import qwen_tokenizer
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = qwen_tokenizer.make_tokenizer(llama_cpp.PACKAGES / "dashscope/resources/qwen.tiktoken")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=64,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny Qwen3, its adapter with a system prompt, and validation rows."""
    path = tmp_path_factory.mktemp("export")
    tiny.make_model(path / "base")
    sharpen(path / "base")
    (path / "base" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Base\n")
    make_adapter(path / "base", path / "adapter", SYSTEM_PROMPT)
    tiny.write_rows(path / "validation.jsonl", tiny.make_rows(6))
    return path


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    path = tmp_path_factory.mktemp("gemma")
    make_gemma(path / "base")
    make_adapter(path / "base", path / "adapter")
    return path


def flags(path, *more):
    rows = ("--validation-file", path / "validation.jsonl", "--logs-dir", path / "logs")
    return [str(word) for word in ("--model", path / "adapter", *rows, *more)]


@pytest.fixture(scope="module")
def merged(place):
    """The folder that --float32 writes, replayed."""
    assert export_model.main(flags(place, "--float32", "--output", place / "merged", "--replay", 3)) == 0
    return place / "merged"


def load_merge(place, float32=True):
    return merge.plan_merge(place / "adapter", None, float32)


@pytest.fixture(scope="module")
def place_replies(place):
    """(the adapter's replies to the rows that the stage chooses, its base's)."""
    rows = export_model.choose_rows(CONFIG | {"validation_file": place / "validation.jsonl"}, 2)
    questions = replay.make_questions(rows, load_tokenizer(str(place / "adapter")), SYSTEM_PROMPT)
    return replay.replay_adapter(load_merge(place), questions, DECODING, lambda text: None)


# ------------------------------------------------------------------------------------------- merged


@pytest.mark.slow
def test_merged_in_float32_answers_token_by_token(place, merged, place_replies):
    expected, base = place_replies
    rows = export_model.choose_rows(CONFIG | {"validation_file": place / "validation.jsonl"}, 2)
    questions = replay.make_questions(rows, load_tokenizer(str(place / "adapter")), SYSTEM_PROMPT)
    made = replay.replay_merged(merged, load_merge(place), questions, DECODING, expected)
    assert [reply.ids for reply in made.replies] == [reply.ids for reply in expected.replies]
    assert replay.mean_agreement(expected, base) < 0.8  # the adapter does change the answers
    assert replay.find_problem("float32", expected, made, base) is None


@pytest.mark.slow
def test_merged_folder_is_whole(place, merged):
    assert not list(place.glob("*.tmp")) and not list(place.glob("*.lock"))
    settings = AdapterSettings.load(merged)
    assert is_merged(merged) and not is_merged(place / "adapter") and not is_merged(place / "base")
    assert settings.run == "20260101_000000" and settings.base_model == str(place / "base")
    assert settings.load_in_4bit is False and settings.decoding == DECODING
    answers = answer_settings(merged, CONFIG)
    assert (
        answers.system_prompt == SYSTEM_PROMPT and answers.decoding == DECODING and not answers.load_in_4bit
    )
    generation = read_json(merged / "generation_config.json")
    tokenizer = load_tokenizer(str(merged))
    assert generation["eos_token_id"] == [tokenizer.eos_token_id] and generation["temperature"] == 0.0
    card = (merged / "README.md").read_text("utf-8")
    assert "license: apache-2.0" in card and "20260101_000000" in card and "not measured" in card


@pytest.mark.slow
def test_template_renders_the_trained_prompt_unasked(place, merged):
    """A client passes the user's turn alone: no system prompt, no enable_thinking."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged)
    row = tiny.make_rows(1)[0]
    expected = replay.make_questions([row], load_tokenizer(str(place / "adapter")), SYSTEM_PROMPT)[0]
    text = tokenizer.apply_chat_template(expected.messages, tokenize=False, add_generation_prompt=True)
    assert text == expected.text and "<think>\n\n</think>" in text and SYSTEM_PROMPT in text


@pytest.mark.slow
def test_sixteen_bits_and_shards(place, tmp_path):
    """Weights of a 16-bit base are rounded once, and split as transformers splits them."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    base = tmp_path / "base"
    shutil.copytree(place / "base", base)
    weights = load_file(base / "model.safetensors")
    save_file(
        {name: w.bfloat16() for name, w in weights.items()}, base / "model.safetensors", {"format": "pt"}
    )
    plan = merge.plan_merge(place / "adapter", str(base), False)
    merge.write_weights(plan, tmp_path, lambda text: None, shard_bytes=100_000)
    files = sorted(tmp_path.glob("model-*.safetensors"))
    index = read_json(tmp_path / "model.safetensors.index.json")
    assert len(files) > 2 and sum(path.stat().st_size for path in files) < plan.total_bytes + 20_000
    written = {name: tensor for path in files for name, tensor in load_file(path).items()}
    assert set(index["weight_map"]) == set(written) == set(weights)
    name = "model.layers.0.self_attn.q_proj.weight"
    lora = load_file(place / "adapter" / "adapter_model.safetensors")
    a, b = (lora[f"base_model.model.{name.removesuffix('.weight')}.lora_{part}.weight"] for part in "AB")
    exact = weights[name].bfloat16().float() + 2.0 * b @ a
    assert torch.equal(written[name], exact.bfloat16())
    shutil.copy(base / "config.json", tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).num_parameters() == plan.parameters


# ------------------------------------------------------------------------------------------- broken


def break_template(folder):
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")


def break_thinking(folder):
    """What an export without the trained switch would be: the answer after an open think block."""
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text("utf-8").replace("{%- set enable_thinking = false %}", ""), "utf-8")


def break_end(folder):
    path = folder / "generation_config.json"
    write_json(path, read_json(path) | {"eos_token_id": None})
    path = folder / "config.json"
    write_json(path, read_json(path) | {"eos_token_id": None})


def leave_adapter_out(folder):
    shutil.copy(folder.parent / "base" / "model.safetensors", folder)


def shuffle_tensor(folder):
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    weights[name] = weights[name][
        torch.randperm(len(weights[name]), generator=torch.Generator().manual_seed(0))
    ]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


BROKEN = {
    "template": (break_template, "chat template or the tokenizer"),
    "thinking": (break_thinking, "chat template or the tokenizer"),
    "end token": (break_end, "would not end"),
    "adapter left out": (leave_adapter_out, "differ from the adapter's"),
    "tensor shuffled": (shuffle_tensor, "differ from the adapter's"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BROKEN)
def test_broken_export_is_caught(place, merged, place_replies, what, monkeypatch, capsys):
    """The whole stage: exit 1, one clear line, and no folder left."""
    damage, words = BROKEN[what]

    def write_and_damage(plan, settings, folder, *_):
        shutil.copytree(merged, folder, dirs_exist_ok=True)
        damage(folder)

    monkeypatch.setattr(export_model, "write_merged", write_and_damage)
    monkeypatch.setattr(export_model.replay, "replay_adapter", lambda *_: place_replies)
    output = place / f"broken {what}"
    assert export_model.main(flags(place, "--float32", "--output", output, "--replay", 2)) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: the export answers otherwise") and words in error
    assert not output.exists() and not list(place.glob("broken*"))


def replayed(*next_ids, ends=(9,), prompt=(1, 2)):
    return replay.Replayed(
        [replay.Reply(list(prompt), list(ids), "", list(ids)) for ids in next_ids], list(ends)
    )


def test_rounded_weights_need_most_next_tokens():
    tuned, base = replayed(range(20), range(20)), [[0] * 20, [99] * 20]
    near, far = replayed(range(20), [*range(18), 99, 99]), replayed(range(20), [*range(10), *[99] * 10])
    assert replay.mean_agreement(tuned, [reply.next_ids for reply in near.replies]) == 0.95
    assert replay.find_problem("16-bit", tuned, near, base) is None
    problem = replay.find_problem("16-bit", tuned, far, base)
    assert "75 % of its next tokens are the adapter's, 90 % should be" in problem and "has 2 %" in problem
    assert "--quant q8_0" in replay.find_problem("q4_k_m", tuned, replayed([99] * 20, [99] * 20), base)
    assert "1 of 2 answers differ" in replay.find_problem("float32", tuned, near, base)
    # An adapter that hardly changes the next tokens: the export must still be nearer to it than the base is.
    assert replay.find_problem("16-bit", tuned, near, [reply.next_ids for reply in near.replies])


def test_compare():
    expected = replay.Reply([1], [5, 6, 7, 9], "пять шесть", [5, 6, 7, 9])
    made = replay.Reply([1], [5, 8], "пять", [5, 8, 7, 9])  # its own answer went astray, its choices did not
    assert replay.compare(expected, made)[:3] == (True, False, 0.75)
    assert replay.compare(expected, made._replace(prompt_ids=[2])).same_prompt is False
    assert replay.compare(expected, expected) == (True, True, 1.0, 1.0)


# ------------------------------------------------------------------------------------------- before it begins


def error_of(*arguments):
    with pytest.raises(UserError) as caught:
        export_model.main([str(argument) for argument in arguments])
    return str(caught.value)


@pytest.mark.slow
def test_what_is_refused(place, tmp_path, monkeypatch):
    four_bit = tmp_path / "Qwen3-bnb-4bit"
    shutil.copytree(place / "base", four_bit)
    model_config = read_json(four_bit / "config.json")
    write_json(
        four_bit / "config.json", model_config | {"quantization_config": {"quant_method": "bitsandbytes"}}
    )
    error = error_of(*flags(place, "--base", four_bit, "--output", tmp_path / "out"))
    assert "packed weights alone" in error and f"--base {tmp_path / 'Qwen3'}" in error
    other = tiny.make_model(tmp_path / "other", seed=5)
    norm_error = error_of(*flags(place, "--base", make_other(other), "--output", tmp_path / "out"))
    assert "is not the model that" in norm_error
    small = make_gemma(tmp_path / "small")
    assert "does not fit" in error_of(*flags(place, "--base", small, "--output", tmp_path / "out"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert "no export" in error_of(*flags(place, "--output", tmp_path / "full"))
    assert "adapter itself" in error_of(*flags(place, "--output", place / "adapter"))
    monkeypatch.setattr(export.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    assert "GB free, the export needs" in error_of(*flags(place, "--output", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def make_other(folder):
    """Another model of the same sizes: its norms differ."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] += 0.5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.slow
def test_dry_run_writes_nothing(place, tmp_path, capsys):
    assert export_model.main(flags(place, "--dry-run", "--output", tmp_path / "out")) == 0
    text = capsys.readouterr().out
    assert "GB at the fullest" in text and "6 of " in text and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_earlier_export_stays_unless_overwritten(place, merged, monkeypatch):
    before = (merged / "legalqa.json").read_text("utf-8")
    assert "--overwrite" in error_of(*flags(place, "--output", merged))
    monkeypatch.setattr(export_model, "write_merged", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        export_model.main(flags(place, "--output", merged, "--overwrite"))
    assert (merged / "legalqa.json").read_text("utf-8") == before and not list(place.glob("*.tmp"))


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o027, 0o640)])
def test_files_have_the_mode_that_the_umask_asks_for(tmp_path, umask, mode):
    """safetensors writes its files for their owner alone: another user's vLLM could not read them."""
    before = os.umask(umask)
    try:
        with export.put_in_place(tmp_path / "out") as folder:
            (folder / "model.safetensors").touch(mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "out" / "model.safetensors").stat().st_mode & 0o777 == mode


def test_scores_of_this_adapter_alone(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    sha256 = export.file_sha256(tmp_path / "adapter" / "adapter_model.safetensors")
    summary = {"num_samples": 7, "metrics": {"token_f1": {"mean": 0.25}, "citation_f1": {"mean": None}}}
    write_json(tmp_path / "benchmark_1.json", {"meta": {"adapter": {"sha256": sha256}}, "summary": summary})
    write_json(tmp_path / "benchmark_2.json", {"meta": {"adapter": {"sha256": "other"}}, "summary": {}})
    write_json(tmp_path / "benchmark_3.json", {"meta": {"adapter": None}, "summary": {}})
    assert export.scores_of(tmp_path / "adapter", tmp_path) == summary
    table = export.score_table(summary)
    assert "7 validation questions" in table and "| token_f1 | 25.0 |" in table and "citation_f1" not in table


# ------------------------------------------------------------------------------------------- llama.cpp


@pytest.fixture(scope="module")
def gemma_replies(gemma):
    """(plan, questions, the adapter's replies, its base's)."""
    plan = merge.plan_merge(gemma / "adapter", None, False)
    questions = replay.make_questions(tiny.make_rows(2), load_tokenizer(str(gemma / "adapter")), "")
    return plan, questions, *replay.replay_adapter(plan, questions, DECODING, lambda text: None)


def break_gguf_end(folder):
    """The answer's end is an ordinary token of the file, and the text's end its only one."""
    path = folder / "tokenizer_config.json"
    write_json(path, read_json(path) | {"eos_token": "<eos>"})
    path = folder / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace("<end_of_turn>", "<end_of_tern>"), "utf-8")
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text("utf-8").replace("<end_of_turn>", "<end_of_tern>"), "utf-8")


BROKEN_GGUF = {
    "end token": (break_gguf_end, "would not end"),
    "adapter left out": (leave_adapter_out, "% of its next tokens are the adapter's"),
}


@pytest.mark.slow
@needs_llama_cpp
@pytest.mark.parametrize("what", BROKEN_GGUF)
def test_broken_gguf_is_caught(gemma, gemma_replies, what, tmp_path):
    plan, questions, expected, base = gemma_replies
    damage, words = BROKEN_GGUF[what]
    folder = gemma / f"merged {what}"
    folder.mkdir()
    export.write_merged(plan, AdapterSettings.load(gemma / "adapter"), folder, lambda text: None, None)
    damage(folder)
    llama_cpp.convert(folder, tmp_path / "model.gguf", "f16")
    made = llama_cpp.replay_gguf(tmp_path / "model.gguf", questions, DECODING, expected)
    assert words in replay.find_problem("f16", expected, made, base)


@pytest.mark.slow
@needs_llama_cpp
def test_ollama_folder_of_the_demos_kind(gemma, capsys):
    """Four bits, asked in llama.cpp: the prompt ids, the end and the first tokens are the adapter's."""
    tiny.write_rows(gemma / "validation.jsonl", tiny.make_rows(6))
    code = export_model.main(
        flags(gemma, "--format", "ollama", "--quant", "q4_k_m", "--output", gemma / "out", "--replay", 2)
    )
    assert code == 0, capsys.readouterr()
    names = sorted(path.name for path in (gemma / "out").iterdir())
    assert names == ["Modelfile", "NOTICE", "README.md", "legalqa.json", "model.gguf"]


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    path = tmp_path_factory.mktemp("qwen")
    make_qwen(path / "base")
    make_adapter(path / "base", path / "adapter", SYSTEM_PROMPT)
    tiny.write_rows(path / "validation.jsonl", tiny.make_rows(6))
    return path


@pytest.mark.slow
@needs_llama_cpp
@pytest.mark.parametrize("quant", [(), ("--quant", "q4_k_m")])
def test_gguf_of_qwens_real_vocabulary(qwen, tmp_path, quant, capsys):
    """Eight bits by default; the system prompt of the training comes from the file's own template."""
    output = tmp_path / "out"
    code = export_model.main(flags(qwen, "--format", "gguf", *quant, "--output", output, "--replay", 1))
    shown = capsys.readouterr()
    assert code == 0, shown
    assert f"({quant[-1] if quant else 'q8_0'})" in shown.out and "DIFFERS" not in shown.out


def test_types_of_a_q4_k_m():
    """llama.cpp's mixture: the head and every layer it gives more bits in Q6_K, the rest in Q4_K."""
    more = [layer for layer in range(36) if quantize.has_more_bits(layer, 36)]
    assert more == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 31, 32, 33, 34, 35]

    def chosen(name, row=256, tied=False, quant="q4_k_m"):
        return quantize.choose_type(name, [row, 512], 36, tied, quant)

    assert chosen("blk.0.attn_v.weight") == "Q6_K" and chosen("blk.4.attn_v.weight") == "Q4_K"
    assert chosen("blk.0.attn_q.weight") == "Q4_K" and chosen("blk.35.ffn_down.weight") == "Q6_K"
    assert chosen("token_embd.weight") == "Q4_K" and chosen("token_embd.weight", tied=True) == "Q6_K"
    assert chosen("output.weight") == "Q6_K" and chosen("output.weight", row=640) == "Q8_0"
    assert (
        chosen("blk.4.ffn_up.weight", row=640) == "Q5_0"
        and chosen("blk.0.ffn_down.weight", row=640) == "Q8_0"
    )
    assert chosen("blk.0.attn_norm.weight") is None and chosen("blk.0.attn_q.weight", quant="q8_0") == "Q8_0"
    assert quantize.choose_type("blk.0.attn_q.bias", [256], 36, False, "q4_k_m") is None


@pytest.mark.parametrize(
    "form, decoding, command",
    [
        ("gguf", DECODING, "llama-server -m 'my out/model.gguf' --jinja --temp 0"),
        (
            "gguf",
            Decoding(0.7, 0.9, 1.1, 24),
            "llama-server -m 'my out/model.gguf' --jinja --temp 0.7 --top-k 0 --top-p 0.9 --min-p 0 "
            "--repeat-penalty 1.1 --repeat-last-n -1",
        ),
        ("merged", DECODING, "vllm serve 'my out'"),
        ("ollama", DECODING, "cd 'my out' && ollama create tuned -f Modelfile && ollama run tuned"),
    ],
)
def test_the_next_command_can_be_pasted(form, decoding, command):
    args = export_model.parse_args(["--format", form, "--model", "a b/tuned/"])
    assert export_model.next_command(args, Path("my out"), decoding) == command


def test_missing_packages_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(llama_cpp, "PACKAGES", tmp_path)
    with pytest.raises(UserError, match="requirements-export.txt"):
        llama_cpp.check_packages()


# ------------------------------------------------------------------------------------------- Ollama


def run_go_template(template, messages):
    """The part of Go's text/template that ours uses, run as Ollama runs it."""
    body, end = template.removeprefix("{{ range $i, $_ := .Messages }}").rsplit("{{ end }}", 1)
    system, rest = body.removeprefix('{{ if eq .Role "system" }}').split('{{ else if eq .Role "user" }}')
    user, answer = rest.removesuffix("{{ end }}").split("{{ else }}")
    begin, user = user.removeprefix("{{ if eq $i 0 }}").split("{{ end }}")
    parts = []
    for number, message in enumerate(messages):
        form = {"system": system, "user": (begin if number == 0 else "") + user, "assistant": answer}[
            message["role"]
        ]
        parts.append(form.replace("{{ .Content }}", message["content"]))
    return "".join(parts) + end


@pytest.mark.slow
@pytest.mark.parametrize("which", ["place", "gemma"])
def test_ollamas_template_is_the_trained_prompt(which, request):
    """With and without a system prompt, with earlier turns: to the letter what prompt.py renders."""
    from legalqa.model.prompt import prompt_messages, render_prompt

    tokenizer = load_tokenizer(str(request.getfixturevalue(which) / "adapter"))
    template = ollama.go_template(tokenizer)
    first, second, third = tiny.make_rows(3)
    histories = [(), [(first, "Статья 5.")], [(first, "Статья 5."), (second, "Статья 6.")]]
    for history in histories:
        for system_prompt in ("", SYSTEM_PROMPT):
            messages = prompt_messages(third, tokenizer, system_prompt, history)
            text = render_prompt(third, tokenizer, system_prompt, history)
            assert run_go_template(template, messages) == text


@pytest.mark.slow
def test_modelfile(place):
    tokenizer = load_tokenizer(str(place / "adapter"))
    settings = AdapterSettings.load(place / "adapter")
    lines = ollama.modelfile("model.gguf", tokenizer, ["<|im_end|>", "<|endoftext|>"], settings, DECODING)
    assert (
        lines.startswith('FROM ./model.gguf\nTEMPLATE """{{ range')
        and f'SYSTEM """{SYSTEM_PROMPT}"""' in lines
    )
    for line in (
        "temperature 0.0",
        "num_predict 24",
        "repeat_last_n -1",
        "num_ctx 2072",
        'stop "<|im_end|>"',
        'stop "<|endoftext|>"',
    ):
        assert f"PARAMETER {line}\n" in lines


# ------------------------------------------------------------------------------------------- the other stages


@pytest.mark.slow
def test_benchmark_and_chat_know_a_merged_folder(place, merged):
    about = benchmark.model_facts(str(merged))
    assert about["kind"] == "merged" and about["base_model"] == str(place / "base")
    assert about["adapter"]["run"] == "20260101_000000"
    assert about["adapter"]["sha256"] == AdapterSettings.load(merged).merged_adapter_sha256


def test_docs_name_files_that_exist():
    text = (REPOSITORY / "docs" / "EXPORT.md").read_text("utf-8")
    for name in ("export_model.py", "requirements-export.txt"):
        assert name in text and (REPOSITORY / name).is_file()
    assert json.dumps("vllm serve")[1:-1] in text
