"""Attention on a CPU: the heads that share keys as a group, in plain matrix products.

torch's kernel (sdpa) needs the keys copied for each head, is slow for a single bfloat16 query, and its
backward pass reaches a tenth of the speed of a matrix product. docs/LOG.md has the measurements.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "grouped"  # under which transformers knows it
LARGEST_SCORES = 2**23  # of one call; more go through sdpa, which never holds them all
PART_TOKENS, MOST_PARTS = 128, 4  # into which a row's queries are cut, to leave out keys after a part


def use_grouped_attention(language_model: Any) -> None:
    """From here on the model computes with it in place of sdpa."""
    if language_model.config.get_text_config()._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, attend)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        language_model.set_attn_implementation(NAME)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it: query (rows, heads, tokens, size), key and value (rows, fewer heads, width,
    size), mask True where a key is seen, None where all before are; the result is (rows, tokens, heads,
    size)."""
    rows, heads, tokens, size = query.shape
    width = key.shape[2]
    if attention_mask is None and tokens > 1:  # rows without padding, from their first token
        attention_mask = torch.ones(tokens, width, dtype=torch.bool).tril()[None, None]
    parts = [(0, tokens, 0, width)] if attention_mask is None else parts_of(attention_mask)
    scores = rows * heads * sum((end - start) * (last - first) for start, end, first, last in parts)
    if scores > LARGEST_SCORES:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    scaling = size**-0.5 if scaling is None else scaling
    return GroupedAttention.apply(query, key, value, attention_mask, scaling, parts), None


def parts_of(mask: torch.Tensor) -> list[tuple[int, int, int, int]]:
    """`cut_queries`, once for all layers that share a mask."""
    if not hasattr(mask, "query_parts"):
        mask.query_parts = cut_queries(mask)  # type: ignore[attr-defined]
    return mask.query_parts  # type: ignore[attr-defined]


def cut_queries(mask: torch.Tensor) -> list[tuple[int, int, int, int]]:
    """[(start, end, first, last)]: the queries in parts, each with the span of keys that it can see. Rows
    that lie end to end, as one, are parts of their own."""
    tokens, width = mask.shape[2:]
    if tokens != width:
        return [(0, tokens, 0, width)]
    begins = [0]
    if len(mask) == 1:  # a row's first token sees itself alone
        begins = (mask[0, 0].sum(dim=-1) == 1).nonzero().flatten().tolist()
    if begins[:1] != [0]:
        return [(0, tokens, 0, width)]
    parts = []
    for first, last in zip(begins, [*begins[1:], tokens]):
        count = max(1, min((last - first) // PART_TOKENS, MOST_PARTS))
        ends = [first + (part + 1) * (last - first) // count for part in range(count)]
        parts += [(start, end, first, end) for start, end in zip([first, *ends], ends)]
    others = (mask[:, :, start:end, keys] for start, end, *span in parts for keys in outside(*span))
    return [(0, tokens, 0, width)] if any(map(torch.any, others)) else parts


def outside(first: int, last: int) -> tuple[slice, slice]:
    return slice(0, first), slice(last, None)


class GroupedAttention(torch.autograd.Function):
    """softmax(scaling q k') v (Vaswani et al., arXiv 1706.03762) where the mask, (rows, 1, tokens, width), is
    True or None; shares of the keys in float32, rounded to the type of the queries.

    The queries of a group's heads lie token by token, (rows x groups, tokens x heads, size), as a layer's
    product leaves them: with one group nothing is copied.
    """

    @staticmethod
    def forward(ctx, query, key, value, mask, scaling, parts):
        rows, _, tokens, size = query.shape
        groups, width = key.shape[1:3]
        heads = query.shape[1] // groups
        query = grouped(query.transpose(1, 2), groups)
        key, value = key.reshape(-1, width, size), value.reshape(-1, width, size)
        shares, mixed = [], []
        for start, end, first, last in parts:
            of_part = query[:, start * heads : end * heads]
            scores = product(of_part, key[:, first:last].transpose(1, 2)).float().mul_(scaling)
            if mask is not None:
                hidden = mask[:, :, start:end, None, first:last].logical_not()
                # Not -inf: of a padding token that sees nothing the shares would be NaN.
                scores.view(rows, groups, end - start, heads, last - first).masked_fill_(
                    hidden, torch.finfo(torch.float32).min
                )
            shares.append(torch.softmax(scores, dim=-1).to(query.dtype))
            mixed.append(product(shares[-1], value[:, first:last]))
        ctx.save_for_backward(query, key, value, *shares)
        ctx.groups, ctx.heads, ctx.scaling, ctx.parts = groups, heads, scaling, parts
        return ungrouped(torch.cat(mixed, dim=1), groups, heads)

    @staticmethod
    def backward(ctx, gradient):
        query, key, value, *shares = ctx.saved_tensors
        gradient = grouped(gradient, ctx.groups)
        of_query, of_key, of_value = [], torch.zeros_like(key), torch.zeros_like(value)
        for (start, end, first, last), share in zip(ctx.parts, shares):
            rows = slice(start * ctx.heads, end * ctx.heads)
            pull = gradient[:, rows]
            of_value[:, first:last] += product(share.transpose(1, 2), pull)
            of_share = product(pull, value[:, first:last].transpose(1, 2))
            of_scores = torch._softmax_backward_data(of_share, share, -1, share.dtype).mul_(ctx.scaling)
            of_query.append(product(of_scores, key[:, first:last]))
            of_key[:, first:last] += product(of_scores.transpose(1, 2), query[:, rows])
        of_query = ungrouped(torch.cat(of_query, dim=1), ctx.groups, ctx.heads).transpose(1, 2)
        of_key, of_value = (one.view(-1, ctx.groups, *one.shape[1:]) for one in (of_key, of_value))
        return of_query, of_key, of_value, None, None, None


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """left @ right of (batch, ...) each; one matrix alone is not copied to be transposed."""
    return (left[0] @ right[0])[None] if len(left) == 1 else left @ right


def grouped(values: torch.Tensor, groups: int) -> torch.Tensor:
    """(rows, tokens, heads, size) as (rows x groups, tokens x heads of a group, size)."""
    rows, tokens, heads, size = values.shape
    apart = values.reshape(rows, tokens, groups, heads // groups, size).transpose(1, 2)
    return apart.reshape(rows * groups, -1, size)


def ungrouped(values: torch.Tensor, groups: int, heads: int) -> torch.Tensor:
    """The inverse of `grouped`; `heads` are a group's."""
    apart = values.view(values.shape[0] // groups, groups, -1, heads, values.shape[-1]).transpose(1, 2)
    return apart.reshape(apart.shape[0], apart.shape[1], -1, values.shape[-1])
