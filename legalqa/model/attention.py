"""Attention in bfloat16 on a CPU: the heads that share keys as a group, in two plain matrix products.

torch's kernel (sdpa) needs the keys copied for each head, is slow for a single bfloat16 query, and its
backward pass reaches a tenth of the speed of a matrix product. docs/LOG.md has the measurements; in float32
sdpa is faster, and stays.
"""

from typing import Any

NAME = "grouped"  # under which transformers knows it
LARGEST_SCORES = 2**23  # of one call; more go through sdpa, which never holds them all


def use_grouped_attention(language_model: Any) -> None:
    """From here on the model computes with it, if it is faster than what it would use."""
    from torch import bfloat16

    implementation = language_model.config.get_text_config()._attn_implementation
    if implementation != "sdpa" or language_model.get_input_embeddings().weight.dtype != bfloat16:
        return
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    language_model.set_attn_implementation(NAME)


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Any, None]:
    """As transformers calls it: query (rows, heads, tokens, size), key and value (rows, fewer heads, width,
    size), mask True where a key is seen, None where all before are; the result is (rows, tokens, heads,
    size)."""
    from torch import finfo, float32, matmul, ones, softmax
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    rows, heads, tokens, size = query.shape
    groups, width = key.shape[1:3]
    is_new = attention_mask is None and tokens > 1  # rows without padding, from their first token
    if rows * heads * tokens * width > LARGEST_SCORES or (is_new and tokens != width):
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    if is_new:
        attention_mask = ones(tokens, width, device=query.device).tril() > 0
    scaled = query * (size**-0.5 if scaling is None else scaling)
    scores = matmul(scaled.reshape(rows, groups, -1, size), key.transpose(2, 3))
    scores = scores.view(rows, heads, tokens, width)
    if attention_mask is not None:
        # Not -inf: of a padding token that sees nothing the shares would be NaN.
        scores = scores.masked_fill(~attention_mask, finfo(scores.dtype).min)
    shares = softmax(scores, dim=-1, dtype=float32).to(query.dtype)
    mixed = matmul(shares.view(rows, groups, -1, width), value)
    return mixed.view(rows, heads, tokens, size).transpose(1, 2).contiguous(), None
