"""Two kinds of layers as a CPU trains them in fewer passes over memory, with the same results.

A small model's step on a CPU spends a third of its time between its products, where memory is the limit.
PEFT casts the input of an adapted layer to float32 and autocast casts it back, and what the adapter adds is
written, scaled and added in three passes; a norm of Gemma takes some twenty. docs/LOG.md has the
measurements.
"""

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear as AdaptedLinear
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm


def use_fused_layers(language_model: Any) -> None:
    """From here on the model's adapted layers and norms compute this way, where they can."""
    for module in language_model.modules():
        if isinstance(module, AdaptedLinear) and is_plain(module):
            module.forward = MethodType(adapted_forward, module)
        elif isinstance(module, Gemma3RMSNorm) and not module.weight.requires_grad:
            module.forward = MethodType(norm_forward, module)


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
        of_b = (gradient.T @ low).mul_(ctx.scaling)
        of_x = (gradient @ weight).addmm_(of_low, a).view(*shape, -1)
        return of_x, None, of_low.T @ flat, of_b, None


def norm_forward(norm: Gemma3RMSNorm, x: torch.Tensor) -> torch.Tensor:
    return ScaledNorm.apply(x, 1.0 + norm.weight.float(), norm.eps)


class ScaledNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) scale (Zhang and Sennrich, arXiv 1910.07467), in float32, in the type of x:
    x (..., size), scale (size,), frozen."""

    @staticmethod
    def forward(ctx, x, scale, eps):
        values = x.float()
        mean_square = torch.linalg.vecdot(values, values).unsqueeze(-1) / x.shape[-1]
        inverse = torch.rsqrt(mean_square + eps)
        ctx.save_for_backward(x, scale, inverse)
        return (values * inverse).mul_(scale).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        x, scale, inverse = ctx.saved_tensors
        scaled, values = gradient.float() * scale, x.float()
        along = torch.linalg.vecdot(scaled, values).unsqueeze(-1)
        pulled = values * (along * inverse**3 / x.shape[-1])
        return scaled.mul_(inverse).sub_(pulled).to(x.dtype), None, None
