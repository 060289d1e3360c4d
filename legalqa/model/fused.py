"""Layers and the loss as a CPU trains them in fewer passes over memory, with the same results.

A small model's step on a CPU spends a third of its time between its products, where memory is the limit.
PEFT casts the input of an adapted layer to float32 and autocast casts it back, and what the adapter adds is
written, scaled and added in three passes; a norm of Gemma takes some twenty, and each logit is visited as
often. docs/LOG.md has the measurements.
"""

from types import MethodType
from typing import Any

import torch
import trl.trainer.utils as trl_utils
from peft.tuners.lora import Linear as AdaptedLinear
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm

from legalqa.model.device import LOGITS_BLOCK_BYTES

LOGITS_A_PASS = 2**20  # 4 MB in float32: they stay in the processor's cache


def use_fused_layers(language_model: Any) -> None:
    """From here on the model's adapted layers and norms, and the loss of TRL's trainers, compute this way,
    where they can."""
    for module in language_model.modules():
        if isinstance(module, AdaptedLinear) and is_plain(module):
            module.forward = MethodType(adapted_forward, module)
        elif isinstance(module, Gemma3RMSNorm) and not module.weight.requires_grad:
            module.forward = MethodType(norm_forward, module)
    if not isinstance(trl_utils._ChunkedLogProbFunction, FusedHead):
        trl_utils._ChunkedLogProbFunction = FusedHead(trl_utils._ChunkedLogProbFunction)


def is_plain(layer: AdaptedLinear) -> bool:
    base = layer.get_base_layer()
    no_dropout = all(isinstance(dropout, torch.nn.Identity) for dropout in layer.lora_dropout.values())
    return type(base) is torch.nn.Linear and base.bias is None and no_dropout and not layer.lora_variant


def adapted_forward(layer: AdaptedLinear, x: torch.Tensor) -> torch.Tensor:
    if layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1:
        return type(layer).forward(layer, x)
    (name,) = layer.active_adapters
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    return AdaptedProduct.apply(x, layer.get_base_layer().weight, a, b, layer.scaling[name])


class AdaptedProduct(torch.autograd.Function):
    """x W' + scaling (x A') B' (Hu et al., arXiv 2106.09685) in the type of W, which is frozen: x (..., in),
    W (out, in), A (r, in), B (out, r)."""

    @staticmethod
    def forward(ctx, x, weight, a, b, scaling):
        flat = x.to(weight.dtype).reshape(-1, x.shape[-1])
        a, b = a.to(weight.dtype), b.to(weight.dtype)
        low = flat @ a.T
        ctx.save_for_backward(flat, weight, a, b, low)
        ctx.scaling = scaling
        return (flat @ weight.T).addmm_(low, b.T, alpha=scaling).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, gradient):
        flat, weight, a, b, low = ctx.saved_tensors
        shape, gradient = gradient.shape[:-1], gradient.reshape(-1, gradient.shape[-1])
        of_low = (gradient @ b).mul_(ctx.scaling)
        of_b = (low.T @ gradient).mul_(ctx.scaling).T  # gradient.T @ low takes twice as long
        of_x = (gradient @ weight).addmm_(of_low, a).view(*shape, -1)
        return of_x, None, of_low.T @ flat, of_b, None


def norm_forward(norm: Gemma3RMSNorm, x: torch.Tensor) -> torch.Tensor:
    return ScaledNorm.apply(x, 1.0 + norm.weight.float(), norm.eps)


class ScaledNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) scale (Zhang and Sennrich, arXiv 1910.07467), in float32, in the type of x:
    x (..., size), scale (size,), frozen."""

    @staticmethod
    def forward(ctx, x, scale, eps):
        values = x.to(torch.float32, copy=True)
        # Not vecdot: autocast would compute it in bfloat16.
        mean_square = torch.linalg.vector_norm(values, dim=-1, keepdim=True).square() / x.shape[-1]
        inverse = torch.rsqrt(mean_square + eps)
        ctx.save_for_backward(x, scale, inverse)
        return values.mul_(inverse).mul_(scale).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        x, scale, inverse = ctx.saved_tensors
        scaled, values = gradient.to(torch.float32, copy=True).mul_(scale), x.float()
        along = torch.linalg.vecdot(scaled, values).unsqueeze(-1) * inverse**3 / x.shape[-1]
        return scaled.mul_(inverse).addcmul_(values, along, value=-1).to(x.dtype), None, None


class FusedHead:
    """In place of the function with which TRL's trainers make log-probabilities from the hidden states; a
    head with a bias, a cap, a scale or trained weights stays with `other`."""

    def __init__(self, other: Any):
        self.other = other

    def apply(self, hidden, weight, bias, targets, temperature, chunk_size, softcap, logit_scale, outputs):
        """As TRL calls it. (log_probs, entropy, log_sum_sq_probs, mean_logits, is_top1), None for those that
        are not among `outputs`."""
        is_plain = bias is None and softcap is None and temperature == logit_scale == 1
        if not is_plain or weight.requires_grad or "log_sum_sq_probs" in outputs:
            rest = temperature, chunk_size, softcap, logit_scale, outputs
            return self.other.apply(hidden, weight, bias, targets, *rest)
        with torch.autocast(hidden.device.type, enabled=False):
            log_probs, *others = LogProbs.apply(hidden.to(weight.dtype), weight, targets)
        names = ("entropy", "mean_logits", "is_top1")
        entropy, mean, is_top1 = (one if name in outputs else None for name, one in zip(names, others))
        return log_probs, entropy, None, mean, is_top1


class LogProbs(torch.autograd.Function):
    """(log-probability of the target; of the whole distribution the entropy and the mean logit; whether the
    target has the largest logit) of the logits hidden weight', all of them (tokens,): hidden (tokens, size),
    weight (vocabulary, size), frozen, targets (tokens,).

    Only the first has a gradient: to the logits, onehot(target) - softmax(logits). Its negative is written
    over a block of them, and multiplied with the weights at once.
    """

    @staticmethod
    def forward(ctx, hidden, weight, targets):
        block_rows = max(1, LOGITS_BLOCK_BYTES // (len(weight) * weight.itemsize))
        pass_rows = max(1, LOGITS_A_PASS // len(weight))
        results, gradients = [], []
        for part, of_part in zip(hidden.split(block_rows), targets.split(block_rows)):
            logits = part @ weight.T
            passes = zip(logits.split(pass_rows), of_part.split(pass_rows))
            results += [to_gradient(*one) for one in passes]
            if ctx.needs_input_grad[0]:
                gradients.append(logits @ weight)
        ctx.save_for_backward(*gradients)
        log_probs, *others = map(torch.cat, zip(*results))
        ctx.mark_non_differentiable(*others)
        return log_probs, *others

    @staticmethod
    def backward(ctx, gradient, *_):
        return torch.cat(ctx.saved_tensors).mul_(-gradient.unsqueeze(-1)), None, None


def to_gradient(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What `LogProbs` gives of a few rows of logits; these become softmax(logits) - onehot(target)."""
    values, targets = logits.float(), targets.unsqueeze(-1)
    shares, (largest, top) = values.softmax(1), values.max(1, keepdim=True)
    of_target, log_sum_exp = values.gather(1, targets), largest - shares.gather(1, top).log()
    entropy = log_sum_exp - torch.einsum("rv,rv->r", shares, values).unsqueeze(-1)
    results = of_target - log_sum_exp, entropy, values.mean(1, keepdim=True), top == targets
    logits.copy_(shares.scatter_add_(1, targets, torch.full_like(of_target, -1.0)))
    return tuple(result.squeeze(1) for result in results)
