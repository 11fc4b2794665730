"""The nets that the families' tests run on, of every shape that their chains can have, and how near two results are."""

from functools import cache

import torch

from steerable.generator import Generator
from steerable.generators import biggan, progan, resnetgan, stylegan1, stylegan2, stylegan3

PROGAN = {
    "odd": progan.Config.tiny(),
    "classes-gray": progan.Config.tiny(c_dim=3, colors=1, z_dim=5),
    "4px": progan.Config.tiny(widths=(6,)),
    "large": progan.Config.tiny(widths=(9, 11, 129, 5)),  # all forms of convolution
}
STYLEGAN1 = {
    "odd": stylegan1.Config.tiny(),
    "classes-gray": stylegan1.Config.tiny(c_dim=3, colors=1, z_dim=5, depth=1),
    "4px": stylegan1.Config.tiny(widths=(6,)),
    "large": stylegan1.Config.tiny(widths=(7, 9, 128, 5)),  # all forms of convolution
}
STYLEGAN2 = {
    "skip": stylegan2.Config.tiny(),
    "resnet": stylegan2.Config.tiny(architecture="resnet"),
    "orig": stylegan2.Config.tiny(architecture="orig"),
    "classes": stylegan2.Config.tiny(c_dim=3, z_dim=7, w_dim=9),
    "classes-resnet-clamp": stylegan2.Config.tiny(architecture="resnet", c_dim=2, clamp=0.6),
    "oblong-odd": stylegan2.Config.tiny(const=(6, 3), widths=(7, 5, 3)),
    "silent-gray-one-block": stylegan2.Config.tiny(noise=False, colors=1, widths=(5,)),
    "large": stylegan2.Config.tiny(widths=(128, 128, 130, 9, 5), clamp=2.0),  # all forms of convolution, and the tail
}
STYLEGAN3 = {
    "t": stylegan3.Config.tiny(),
    "r": stylegan3.Config.tiny(radial=True, conv_kernel=1),
    "classes-radial-3x3": stylegan3.Config.tiny(radial=True, c_dim=3, z_dim=7, w_dim=9, depth=1),
    "gray-clamp-critical": stylegan3.Config.tiny(
        colors=1, num_critical=1, margin=3, clamp=0.5, first_cutoff=1.5, output_scale=1.0
    ),
    "wide": stylegan3.Config.tiny(
        channel_base=4096, channel_max=128, num_layers=2, num_critical=1, z_dim=4, w_dim=4, margin=0
    ),
    "narrow-large": stylegan3.Config(
        64, 4, 4, channel_base=300, channel_max=5, num_layers=2, num_critical=1, first_cutoff=9, first_stopband=15
    ),
}
RESNETGAN = {
    "around": resnetgan.Config.tiny(),  # nothing around one block, 3x3 px around the other
    "paper": resnetgan.Config.tiny(skips=(1, 1), side=6, colors=1, epsilon=2e-5),
    "classes-linear": resnetgan.Config.tiny(classes=3, linear=True, skips=(1, 3), attention=0),
    "wide": resnetgan.Config.tiny(widths=(8, 8, 130), skips=(0, 1), kernel=1),  # all forms of convolution
}
BIGGAN = {
    "chunks": biggan.Config.tiny(),
    "one-z": biggan.Config.tiny(hierarchical=False, attention=(), ups=(True, False), side=5, bound=None),
    "deep": biggan.Config.tiny(deep=True, attention=(0, 1)),
    "large": biggan.Config.tiny(widths=(16, 12, 130), embedding=9),  # all forms of convolution
}
SHAPES = {
    "progan": (progan, PROGAN),
    "stylegan1": (stylegan1, STYLEGAN1),
    "stylegan2": (stylegan2, STYLEGAN2),
    "stylegan3": (stylegan3, STYLEGAN3),
    "resnetgan": (resnetgan, RESNETGAN),
    "biggan": (biggan, BIGGAN),
}


@cache
def net(family: str, kind: str, seed: int = 3, double: bool = False) -> Generator:
    """A random net, made once: nobody may write to its weights."""
    module, configs = SHAPES[family]
    made = module.random(configs[kind], seed=seed)
    return made.to(dtype=torch.float64) if double else made


def close(a, b, relative):
    assert a.shape == b.shape
    assert float((a - b).abs().max() / b.abs().max()) < relative
