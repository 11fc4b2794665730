"""Weights as they are before training (Karras et al., CVPR 2020): normal, biases 0, those of style maps 1."""

from typing import TypeVar

import torch
from torch import nn

from ..generators.stylegan2 import Net, StyleGAN2

N = TypeVar("N", bound=nn.Module)


@torch.no_grad()
def fresh(net: N, seed: int) -> N:
    """The same net with its first weights; the same seed gives the same ones.

    Layers with a learning rate of their own (`lr`) store their weights divided by it.
    """
    source = torch.Generator().manual_seed(seed)
    for module in net.modules():
        rate = getattr(module, "lr", 1.0)
        for p in module.parameters(recurse=False):
            if p.ndim > 1:
                p.copy_(torch.randn(p.shape, generator=source) / rate)
            else:
                p.zero_()  # biases, and the strength of noise
        for p in module.buffers(recurse=False):
            p.copy_(torch.randn(p.shape, generator=source) if p.ndim > 1 else torch.zeros(p.shape))
    for name, p in net.named_parameters():
        if name.endswith("affine.bias"):
            p.fill_(1.0)
    return net


def training_form(net: Net, precision: str) -> StyleGAN2:
    """The family around a net whose weights go on being trained; with "bf16-mixed", features are bfloat16."""
    wanted = [p.requires_grad for p in net.parameters()]
    g = StyleGAN2("training", net, mark="training")
    for p, wants in zip(net.parameters(), wanted, strict=True):
        p.requires_grad_(wants)  # a generator freezes its net
    return g.half() if precision == "bf16-mixed" else g
