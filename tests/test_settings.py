"""How answers are made: flag over adapter over config, the engine, memory and GPU in words."""

import json
import sys
import types
from dataclasses import asdict

import gpu_check
import pytest
from hypothesis import given
from hypothesis import strategies as st

import config
from legalqa import cli
from legalqa.errors import UserError
from legalqa.model import base, device, engine, untrusted, vllm
from legalqa.model.adapter import AdapterSettings, answer_settings
from legalqa.model.answers import Answers, Line, generate_all
from legalqa.model.generate import Answer
from legalqa.model.settings import DECODING_KEYS, MODEL_KEYS, Decoding, resolve, source_lines
from legalqa.training.plan import TrainingOrder

GREEDY = Decoding(temperature=0.0, top_p=1.0, repetition_penalty=1.0, max_new_tokens=8)
KEYS = (*MODEL_KEYS, *DECODING_KEYS)


def adapter_folder(folder, **saved):
    """A folder that says it is an adapter, with a legalqa.json."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "legalqa.json").write_text(json.dumps(saved))
    return folder


# ---------------------------------------------------------------------------------------- which setting holds

some_keys = st.sets(st.sampled_from(KEYS))


@given(flags=some_keys, saved=some_keys)
def test_a_flag_wins_over_the_adapter_and_that_over_config(flags, saved):
    made = resolve(
        {key: ("flag", key) for key in flags}, {key: ("adapter", key) for key in saved}, dict(config.CONFIG)
    )
    values = {**asdict(made), **asdict(made)["decoding"]}
    for key in KEYS:
        source = "flag" if key in flags else "adapter" if key in saved else "config"
        assert made.sources[key] == source
        assert values[key] == (config.CONFIG[key] if source == "config" else (source, key))
    assert set(made.overridden) == flags & saved


def test_what_is_inherited_and_overridden_is_said_with_its_source(tmp_path):
    saved = {"system_prompt": "", "load_in_4bit": True, "max_seq_length": 256}
    folder = adapter_folder(tmp_path / "a", **saved, decoding=asdict(GREEDY))
    assert source_lines(answer_settings(folder, config.CONFIG)) == [
        "as trained system_prompt '', load_in_4bit true, max_seq_length 256, temperature 0.0, top_p 1.0, "
        "repetition_penalty 1.0, max_new_tokens 8"
    ]
    flags = {"load_in_4bit": False, "max_seq_length": 999, "system_prompt": "X", "temperature": 0.0}
    assert source_lines(answer_settings(folder, config.CONFIG, flags)) == [
        "as trained top_p 1.0, repetition_penalty 1.0, max_new_tokens 8",
        "by flag    system_prompt 'X' (the adapter's: ''), load_in_4bit false (the adapter's: true), "
        "max_seq_length 999 (the adapter's: 256), temperature 0.0",
        "warning: another system prompt than the adapter was trained with; answers may be worse",
    ]
    assert source_lines(answer_settings(tmp_path / "base", config.CONFIG)) == []


@pytest.mark.parametrize(
    "saved, message",
    [
        ({"decoding": {**asdict(GREEDY), "temperature": 50}}, "temperature must be from 0 to 5, not 50"),
        ({"decoding": {**asdict(GREEDY), "max_new_tokens": 9.5}}, "max_new_tokens must be from 1 to 131,072"),
        ({"decoding": [1]}, "top_p must be from 0.001 to 1, not None"),
        ({"max_seq_length": 0}, "max_seq_length must be from 8 to 1,048,576, not 0"),
        ({"max_seq_length": True}, "max_seq_length must be from 8 to 1,048,576, not True"),
        ({"load_in_4bit": 1}, "load_in_4bit is 1"),
        ({"run": 5}, "run is 5"),
    ],
)
def test_damaged_adapter_settings_are_named(tmp_path, saved, message):
    with pytest.raises(UserError, match=message):
        AdapterSettings.load(adapter_folder(tmp_path / "a", **saved))


def test_a_flag_has_the_same_limits_as_an_adapter():
    args = cli.make_parser("x.py", "", DECODING_KEYS).parse_args(["--temperature", "6"])
    with pytest.raises(UserError, match="--temperature must be from 0 to 5, not 6.0"):
        cli.effective_config(args)


maybe = st.none() | st.text(max_size=9)


@given(
    made=st.builds(
        AdapterSettings,
        system_prompt=maybe,
        run=maybe,
        max_seq_length=st.none() | st.integers(8, 2**20),
        load_in_4bit=st.none() | st.booleans(),
        decoding=st.none()
        | st.builds(Decoding, st.floats(0, 5), st.just(1), st.just(1.0), st.integers(1, 2**17)),
    )
)
def test_adapter_settings_come_back_as_they_were_saved(tmp_path_factory, made):
    folder = tmp_path_factory.mktemp("saved")
    made.save(folder)
    assert AdapterSettings.load(folder) == made


# ---------------------------------------------------------------------------------------- answers and engines


@given(texts=st.lists(st.text(), max_size=4), damage=st.binary(max_size=20), cut=st.integers(0, 30))
def test_answers_are_read_back_whatever_else_is_in_the_file(tmp_path_factory, texts, damage, cut):
    path = tmp_path_factory.mktemp("answers") / "answers.jsonl"
    lines = [Line(str(number), text, 1, False, 0.1) for number, text in enumerate(texts)]
    Answers(path).append(lines)
    with open(path, "ab") as file:
        file.write(damage + b'\n{"prompt_sha256": "cut", "prediction": "x", "new_tokens"'[:cut])
    read = Answers(path)
    assert all(read.made[line.prompt_sha256] == line for line in lines)
    read.append([Line("more", "ответ", 1, False, 0.1)])
    assert Answers(path).made["more"].prediction == "ответ"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_batches_are_halved_until_they_fit(tmp_path, error, capsys):
    def generate(prompts, decoding, on_step):
        if len(prompts) > 2:
            raise error
        return [Answer(text.upper(), 1, False) for text in prompts]

    answers = Answers(tmp_path / "answers.jsonl")
    assert generate_all(generate, list("abcdefgh"), GREEDY, 8, answers) == 2
    assert sorted(line.prediction for line in answers.made.values()) == list("ABCDEFGH")
    assert "out of memory: batches of 2 from here on" in capsys.readouterr().err


FAKE_VLLM = """
from types import SimpleNamespace

class SamplingParams(SimpleNamespace): pass

class LLM:
    started = []

    def __init__(self, **options):
        self.started.append(options)

    def generate(self, inputs, sampling, lora_request, use_tqdm):
        made = SimpleNamespace(text=" ответ ", token_ids=[1] * sampling.max_tokens, finish_reason="length")
        return [SimpleNamespace(outputs=[made]) for _ in inputs]
"""


class FakeTokenizer:
    eos_token_id = 2

    def __call__(self, text):
        return types.SimpleNamespace(input_ids=[1] * len(text))


@pytest.fixture
def fake_vllm(tmp_path, monkeypatch):
    """The package vllm, and torch with a CUDA GPU; what LLM was started with is in LLM.started."""
    package = tmp_path / "packages/vllm"
    (package / "lora").mkdir(parents=True)
    (package / "__init__.py").write_text(FAKE_VLLM, "utf-8")
    (package / "lora/__init__.py").write_text("")
    (package / "lora/request.py").write_text("LoRARequest = lambda *arguments: arguments\n")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    cuda = types.SimpleNamespace(is_available=lambda: True)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(vllm, "check_adapter", lambda folder: "base")
    monkeypatch.setattr(vllm, "check_model_name", lambda name: name)
    monkeypatch.setattr(vllm, "check_prompt", lambda folder, tokenizer: None)
    monkeypatch.setattr(vllm, "load_tokenizer", lambda name: FakeTokenizer())
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "vllm"]:
        del sys.modules[name]


def make_adapter(folder, rank=16):
    adapter_folder(folder, max_seq_length=64, load_in_4bit=True, decoding=asdict(GREEDY))
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    return str(folder)


def test_vllm_follows_the_adapter(fake_vllm, tmp_path):
    name = make_adapter(tmp_path / "a", rank=48)
    made = engine.load_engine(
        name, answer_settings(name, config.CONFIG), {**config.CONFIG, "vllm_memory_share": 0.5}
    )
    import vllm as package

    (options,) = package.LLM.started
    assert made.name == "vllm" and options["max_model_len"] == 64 + 8  # the adapter's own, not config's 512
    assert (options["max_lora_rank"], options["gpu_memory_utilization"]) == (64, 0.5)
    assert made.generate(["вопрос"], GREEDY, lambda: None) == [Answer("ответ", 8, cut_off=True)]
    with pytest.raises(
        UserError, match="a prompt has 65 tokens, vLLM was started for 64; give --max-seq-length 65"
    ):
        made.generate(["x" * 65], GREEDY, lambda: None)


def test_a_rank_that_vllm_does_not_take_is_said(fake_vllm, tmp_path, monkeypatch, capsys):
    name = make_adapter(tmp_path / "a", rank=600)
    settings = answer_settings(name, config.CONFIG)
    with pytest.raises(
        UserError, match="has rank 600, vLLM takes adapters up to rank 512; without it: --engine unsloth"
    ):
        engine.load_engine(name, settings, {**config.CONFIG, "engine": "vllm"})
    monkeypatch.setattr(engine, "load_for_inference", lambda name, settings: ("model", "tokenizer"))
    assert engine.load_engine(name, settings, config.CONFIG).name == "unsloth"
    assert "Unsloth answers, not vLLM: " in capsys.readouterr().err


def test_auto_starts_again_with_unsloth_where_vllm_fails(fake_vllm, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ValueError("No available memory for the cache blocks.\nmore")

    started, name = [], make_adapter(tmp_path / "a")
    monkeypatch.setattr(vllm, "load", fail)
    monkeypatch.setattr(engine.os, "execv", lambda program, arguments: started.append(arguments))
    settings = answer_settings(name, config.CONFIG)
    engine.load_engine(name, settings, config.CONFIG)
    assert started == [[*sys.orig_argv, "--engine", "unsloth"]]
    assert (
        "ValueError: No available memory for the cache blocks.; starting again with"
        in capsys.readouterr().err
    )
    with pytest.raises(UserError, match="No available memory .*lower --vllm-memory-share"):
        engine.load_engine(name, settings, {**config.CONFIG, "engine": "vllm"})


def test_engine_vllm_without_vllm(tmp_path):
    with pytest.raises(UserError, match="--engine vllm: the package vllm is not installed"):
        engine.load_engine("x", answer_settings("x", config.CONFIG), {**config.CONFIG, "engine": "vllm"})


# ------------------------------------------------------------------------------------- the machine, in words


@pytest.mark.parametrize(
    "error, is_one",
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, is_one):
    assert device.is_out_of_memory(error) == is_one


@pytest.mark.parametrize(
    "cuda, driver, wanted",
    [
        (
            None,
            "580.65.06",
            "is a build without CUDA, beside an NVIDIA GPU (driver 580.65.06); install the build with it",
        ),
        (
            "13.0",
            "550.54.15",
            "driver 550.54.15 is too old for torch 2.13.0 for CUDA 13.0, which needs 580 or newer",
        ),
        (
            "13.0",
            "580.65.06",
            "torch 2.13.0 for CUDA 13.0 finds no usable GPU, though driver 580.65.06 is loaded",
        ),
        ("13.0", "unknown", "finds no usable GPU, though driver unknown is loaded"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_one_line(monkeypatch, cuda, driver, wanted):
    version = types.SimpleNamespace(cuda=cuda)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.13.0", version=version))
    monkeypatch.setattr(device, "driver_version", lambda: driver)
    line = device.why_no_cuda()
    assert wanted in line and "CUDA_VISIBLE_DEVICES= before the command" in line and "\n" not in line


def test_unsloth_without_a_usable_gpu_is_one_line(run_script, tiny_data, tiny_model):
    """Unsloth gives up, as it does where an NVIDIA driver is loaded that torch cannot use."""
    done = run_script(
        "train_8b.py",
        "--profile",
        "demo",
        "--model-name",
        tiny_model,
        "--train-file",
        tiny_data[0],
        "--dry-run",
        env={"UNSLOTH_DISABLE_CPU_FALLBACK": "1"},
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "CUDA_VISIBLE_DEVICES= before the command" in done.stderr.splitlines()[-1]


def test_auto_takes_no_accelerator_that_nobody_tested(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "darwin")
    args = cli.make_parser("x.py", "", ("seed",)).parse_args([])
    assert cli.effective_config(args)["profile"] == "demo"
    assert capsys.readouterr().err.startswith("Apple Silicon is not tested: profile demo")


@pytest.mark.parametrize(
    "error, advice",
    [
        (ModuleNotFoundError("No module named 'triton'"), "install the pinned ones .make setup"),
        (
            RuntimeError("Failed to find C compiler. Please specify via CC"),
            "the GPU's software, not the file",
        ),
        (OSError(28, "No space left on device"), "mend that and start again"),
        (ValueError("expected value at line 1"), "is it damaged, or not of this kind. get it again"),
        (Exception("data did not match any variant"), "is it damaged, or not of this kind. get it again"),
        (KeyError("hidden_size"), "is it damaged, or not of this kind. get it again"),
    ],
)
def test_only_a_damaged_file_is_to_be_got_again(error, advice):
    with (
        pytest.raises(UserError, match=f"the model x cannot be loaded: .*; .*{advice}"),
        untrusted.loading("the model x"),
    ):
        raise error


def test_running_out_of_memory_is_no_fault_of_the_file():
    with pytest.raises(RuntimeError, match="ALLOC_FAILED"), untrusted.loading("the model x"):
        raise RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")


@pytest.mark.slow
def test_weight_bytes_follow_the_file(tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    layer, embedding, norm = np.zeros((8, 4), "float16"), np.zeros((10, 4), "float16"), np.zeros(4, "float16")
    names = {"model.embed_tokens.weight": embedding, "lm_head.weight": embedding, "norm.weight": norm}
    save_file({**names, "q_proj.weight": layer, "o_proj.weight": layer}, tmp_path / "model.safetensors")
    assert base.weight_bytes(tmp_path, True, 2) == int(2 * (40 + 40 + 4) + 0.516 * 64)
    assert base.weight_bytes(tmp_path, False, 4) == 4 * (40 + 40 + 4 + 64)
    # Packed by its maker, who left o_proj in 16 bits: so it stays.
    packed = {"q_proj.weight": np.zeros((16, 1), "uint8"), "q_proj.weight.absmax": np.zeros(2, "uint8")}
    save_file({**names, **packed, "o_proj.weight": layer}, tmp_path / "model.safetensors")
    assert base.weight_bytes(tmp_path, True, 2) == 2 * (40 + 40 + 4 + 32) + 16 + 2
    assert base.weight_bytes("owner/not-here", True, 2) is None


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("scaling", [None, 0.1])
# The next, all, the next of a batch; so many that they are cut in parts, last keys seen by none of the first.
@pytest.mark.parametrize("tokens, width", [(1, 9), (9, 9), (3, 9), (300, 300)])
@pytest.mark.slow
def test_grouped_heads_give_what_torchs_attention_gives(masked, scaling, tokens, width):
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from legalqa.model import attention

    torch.manual_seed(0)
    module = types.SimpleNamespace(num_key_value_groups=4, is_causal=True, training=False)
    # As projections leave them: token by token.
    sizes = {"query": (tokens, 8), "key": (width, 2), "value": (width, 2)}
    states = [torch.randn(3, *size, 16).transpose(1, 2).requires_grad_() for size in sizes.values()]
    mask = torch.ones(tokens, width, dtype=torch.bool).tril(width - tokens).repeat(3, 1, 1, 1)
    mask[0, :, :, 6:] = mask[1, :, :, :1] = False  # padding on the right, on the left
    arguments = (module, *states, mask if masked else None)
    ours, _ = attention.attend(*arguments, scaling=scaling)
    theirs, _ = sdpa_attention_forward(*arguments, scaling=scaling)
    assert torch.allclose(ours[[0, 2]], theirs[[0, 2]], atol=1e-5)
    pull = torch.randn_like(ours)[[0, 2]]
    our_gradients, their_gradients = (
        torch.autograd.grad((made[[0, 2]] * pull).sum(), states) for made in (ours, theirs)
    )
    for our, their in zip(our_gradients, their_gradients):
        assert torch.allclose(our, their, atol=1e-4)
    assert ours.isfinite().all()  # also of a padding token that sees nothing


def end_to_end(lengths):
    """The mask of rows that lie end to end, as one row."""
    import torch

    blocks = [torch.ones(length, length, dtype=torch.bool).tril() for length in lengths]
    return torch.block_diag(*blocks)[None, None] > 0


@pytest.mark.slow
def test_queries_are_cut_where_keys_are_hidden():
    import torch

    from legalqa.model.attention import cut_queries

    causal = torch.ones(300, 300, dtype=torch.bool).tril().repeat(2, 1, 1, 1)
    assert cut_queries(causal) == [(0, 150, 0, 150), (150, 300, 0, 300)]
    causal[1, :, 10, 299] = True
    assert cut_queries(causal) == [(0, 300, 0, 300)]
    assert cut_queries(causal[:, :, :100, :100]) == [(0, 100, 0, 100)]
    assert cut_queries(causal[:, :, 299:]) == [(0, 1, 0, 300)]
    rows = end_to_end([2, 260, 1])
    spans = [(0, 2, 0, 2), (2, 132, 2, 132), (132, 262, 2, 262), (262, 263, 262, 263)]
    assert cut_queries(rows) == spans
    rows[0, 0, 262, 0] = True  # the last row sees the first one
    assert cut_queries(rows) == [(0, 263, 0, 263)]
    padded = torch.ones(1, 1, 5, 5, dtype=torch.bool).tril()
    padded[..., 0] = False  # on the left: its first token sees nothing
    assert cut_queries(padded) == [(0, 5, 0, 5)]


@pytest.mark.slow
def test_rows_end_to_end_do_not_see_each_other(monkeypatch):
    """As torch's attention has it, values and gradients; and as each row alone."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from legalqa.model import attention
    from legalqa.model.attention import cut_queries

    torch.manual_seed(0)
    module = types.SimpleNamespace(num_key_value_groups=2, is_causal=True, training=False)
    lengths = [7, 300, 1, 40]
    mask, tokens = end_to_end(lengths), sum(lengths)
    states = [torch.randn(1, tokens, heads, 16).transpose(1, 2).requires_grad_() for heads in (4, 2, 2)]
    looks = []
    monkeypatch.setattr(attention, "cut_queries", lambda mask: looks.append(mask) or cut_queries(mask))
    ours, _ = attention.attend(module, *states, mask)
    again, _ = attention.attend(module, *states, mask)  # the next layer
    assert torch.equal(ours, again) and len(looks) == 1
    theirs, _ = sdpa_attention_forward(module, *states, mask)
    assert torch.allclose(ours, theirs, atol=1e-5)
    pull = torch.randn_like(ours)
    for our, their in zip(*(torch.autograd.grad((made * pull).sum(), states) for made in (ours, theirs))):
        assert torch.allclose(our, their, atol=1e-4)
    alone, _ = attention.attend(module, *(state[:, :, 7:307] for state in states), None)
    assert torch.allclose(ours[:, 7:307], alone, atol=1e-5)


@pytest.mark.slow
def test_an_adapted_layer_in_fewer_passes_gives_what_pefts_gives():
    """Values and gradients, in float32; with the adapter off or merged it is PEFT's own."""
    import torch
    from peft import LoraConfig, get_peft_model

    from legalqa.model.fused import adapted_forward, use_fused_layers

    torch.manual_seed(0)
    base_layer = torch.nn.Sequential(torch.nn.Linear(12, 20, bias=False), torch.nn.Linear(20, 8))
    adapted = get_peft_model(base_layer, LoraConfig(r=4, lora_alpha=6, target_modules=["0", "1"]))
    layer = adapted.base_model.model[0]
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    trained = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
    x, pull = torch.randn(2, 5, 12, requires_grad=True), torch.randn(2, 5, 20)

    def values_and_gradients():
        values = layer(x)
        return values, *torch.autograd.grad((values * pull).sum(), [x, *trained])

    theirs = values_and_gradients()
    use_fused_layers(adapted)
    assert layer.forward.__func__ is adapted_forward
    assert "forward" not in vars(adapted.base_model.model[1])  # it has a bias
    for ours, expected in zip(values_and_gradients(), theirs):
        assert torch.allclose(ours, expected, atol=1e-5)
    with adapted.disable_adapter():
        assert torch.equal(layer(x), layer.get_base_layer()(x))
    adapted.merge_adapter()
    assert torch.allclose(layer(x), theirs[0], atol=1e-5)


@pytest.mark.slow
def test_a_norm_in_fewer_passes_gives_what_transformers_gives():
    import torch
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm

    from legalqa.model.fused import use_fused_layers

    torch.manual_seed(0)
    norm = Gemma3RMSNorm(16, eps=1e-6)
    torch.nn.init.normal_(norm.weight)
    norm.weight.requires_grad_(False)
    pull = torch.randn(3, 5, 16)
    x = (10 * torch.randn(3, 5, 16)).requires_grad_()
    kept = x.detach().clone()
    theirs = norm(x)
    (their_gradient,) = torch.autograd.grad((theirs * pull).sum(), x)
    use_fused_layers(torch.nn.ModuleList([norm]))
    ours = norm(x)
    (our_gradient,) = torch.autograd.grad((ours * pull).sum(), x)
    assert "forward" in vars(norm)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(our_gradient, their_gradient, atol=1e-5)
    assert torch.equal(x, kept)
    half = x.detach().bfloat16()
    theirs = type(norm).forward(norm, half)
    assert torch.equal(norm(half), theirs)  # rounded once, at the end, as there
    with torch.autocast("cpu", torch.bfloat16):  # as training runs
        assert torch.equal(norm(half), theirs)


@pytest.mark.slow
def test_the_loss_in_fewer_passes_is_that_of_the_whole_logits(monkeypatch):
    """Values and gradients, in blocks of 5 rows and passes of 2, whatever TRL asks for."""
    import torch

    from legalqa.model import fused

    torch.manual_seed(0)
    monkeypatch.setattr(fused, "LOGITS_BLOCK_BYTES", 5 * 11 * 4)
    monkeypatch.setattr(fused, "LOGITS_A_PASS", 2 * 11)
    hidden, weight = torch.randn(13, 6, requires_grad=True), 3 * torch.randn(11, 6)
    logits = hidden @ weight.T
    whole, pull = logits.log_softmax(1), torch.randn(13)
    targets = torch.cat([logits.argmax(1)[:4], torch.randint(11, (9,))])

    def other(*_):
        raise AssertionError("this head has nothing that is not ours")

    head = fused.FusedHead(types.SimpleNamespace(apply=other))
    asked = ("log_probs", "entropy", "mean_logits", "is_top1")
    ours, entropy, none, mean, is_top1 = head.apply(hidden, weight, None, targets, 1.0, 4, None, 1.0, asked)
    (our_gradient,) = torch.autograd.grad((ours * pull).sum(), hidden)
    theirs = whole.gather(1, targets[:, None]).squeeze(1)
    (their_gradient,) = torch.autograd.grad((theirs * pull).sum(), hidden)
    assert torch.allclose(ours, theirs, atol=1e-5) and torch.allclose(our_gradient, their_gradient, atol=1e-5)
    assert torch.allclose(entropy, -(whole.exp() * whole).sum(1), atol=1e-5)
    assert torch.allclose(mean, logits.mean(1), atol=1e-5) and none is None
    assert torch.equal(is_top1, logits.argmax(1) == targets) and 0 < is_top1.sum() < 13
    assert not (entropy.requires_grad or mean.requires_grad)
    with torch.no_grad():
        alone = head.apply(hidden, weight, None, targets, 1.0, 4, None, 1.0, ("log_probs",))
        nothing, *_ = head.apply(hidden[:0], weight, None, targets[:0], 1.0, 4, None, 1.0, ("log_probs",))
    assert torch.equal(alone[0], ours) and alone[1:] == (None, None, None, None) and nothing.shape == (0,)


@pytest.mark.parametrize(
    "changed",
    [
        {"bias": 1},
        {"temperature": 0.5},
        {"softcap": 30.0},
        {"logit_scale": 2.0},
        {"outputs": ("log_probs", "log_sum_sq_probs")},
    ],
)
@pytest.mark.slow
def test_another_head_stays_with_trls_function(changed):
    import torch

    from legalqa.model.fused import FusedHead

    plain = {
        "hidden": torch.ones(1, 2),
        "weight": torch.ones(3, 2),
        "bias": None,
        "targets": torch.tensor([1]),
        "temperature": 1.0,
        "chunk_size": 4,
        "softcap": None,
        "logit_scale": 1.0,
        "outputs": ("log_probs",),
    }
    asked, seen = plain | changed, []
    FusedHead(types.SimpleNamespace(apply=lambda *arguments: seen.append(arguments))).apply(**asked)
    assert seen == [tuple(asked.values())]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.slow
def test_answers_are_the_same_with_grouped_heads(dtype):
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from legalqa.model import attention

    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "head_dim": 8,
    }
    torch.manual_seed(0)
    made = Qwen3ForCausalLM(Qwen3Config(**sizes, num_attention_heads=4, num_key_value_heads=2))
    made = made.to(getattr(torch, dtype))
    ids = torch.arange(6)[None]
    before = made.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0, eos_token_id=49)
    base.fit_to_cpu(made, load_in_4bit=False, trains=False)
    assert made.config._attn_implementation == (attention.NAME if dtype == "bfloat16" else "sdpa")
    base.fit_to_cpu(made, load_in_4bit=False, trains=True)
    assert made.config._attn_implementation == attention.NAME
    after = made.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0, eos_token_id=49)
    assert torch.equal(before, after)


def test_the_median_step_is_not_moved_by_a_compilation():
    order = TrainingOrder([10] * 40, 8, 0, False)
    ends = [100, 101, 102, 140, 141]
    history = [{"elapsed_sec": float(end)} for end in ends]
    assert gpu_check.median_step(history, order, range(1, 5)) == (1.0, 80.0)
