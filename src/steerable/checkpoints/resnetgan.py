"""Residual generators (SN-GAN, projection cGAN, WGAN-GP, SAGAN) as several codes write them.

pfnet         ResNetGenerator_….npz of sngan_projection (Chainer): l1/W, block2/c1/W, block2/b1/avg_mean, b7/gamma, l7/W
mimicry       netG_…_steps.pth of torch_mimicry, {model_state_dict: l1.weight, block2.c1.weight, …}; SAGAN's with spectral normalization
GongXinyuu    checkpoint.pth of sngan.pytorch, {gen_state_dict, avg_gen_state_dict}, the same names
Sequential    dense or 0, blocks 2.conv1, 2.model.0, 2.bypass.1 …, normalization and convolution at the end (anvoynov, christiancosgrove)

Widths, depth, classes and what goes around a block are read off names and shapes. Whether maps grow by nearest neighbors (pfnet,
GongXinyuu, Sequential) or linearly (mimicry) is told by the wrapping; option `upsampling`: nearest or bilinear, where it is not. Others:
`eps` (2e-5 of Chainer, else 1e-5), `part`.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .. import foreign
from ..errors import ArtifactError
from ..generators.resnetgan import Config
from .checkpoint import Checkpoint
from .reading import chosen, listing, named, number, prefixes, reading, under
from .spectral import folded

LAYOUT = "ResNet GAN"
OPTIONS = ("upsampling", "eps")
CHAINER = {
    "W": "weight",
    "b": "bias",
    "gamma": "weight",
    "beta": "bias",
    "avg_mean": "running_mean",
    "avg_var": "running_var",
}
TWINS = r"(.*\.)?\d+\.model\.[36]\.(weight|bias)"  # a Sequential lists the convolutions of a block a second time


def recognized(tree: foreign.Tree, options: Mapping[str, object]) -> Checkpoint | None:
    """What such a file holds; None for another file. Raises ArtifactError where it is damaged, or does not say how maps grow."""
    state = named(tree)
    for leaf in ("block2.c1.bias", "block2/c1/b"):
        if found := prefixes(state, leaf):
            prefix = chosen(sorted(found, key=lambda p: "avg" not in p), options.get("part"))
            kind, names = _kind(prefix, leaf, state), _numbered
            break
    else:
        found = sorted(
            {m[1] or "" for key in state if (m := re.fullmatch(r"(.*?\.)?\d+\.model\.4\.running_mean", key))}
        )
        if not found:
            return None
        kind, names, prefix = "Sequential", _sequential, chosen(found, options.get("part"))
    source = under(state, prefix)
    if kind == "Sequential" and "dense.weight" in (above := under(state, prefix.removesuffix("model."))):
        source |= {key: above[key] for key in ("dense.weight", "dense.bias") if key in above}
    with reading(f"a {LAYOUT} ({kind})"):
        config, tensors = _net(folded(_torch_names(source)), names, kind, options)
    return Checkpoint(f"{LAYOUT} ({kind})", "resnetgan", config, tensors, source, held=listing(tree))


def _kind(prefix: str, leaf: str, state: Mapping[str, Tensor]) -> str:
    """Whose code wrote it."""
    if "/" in leaf:
        return "pfnet"
    if (
        "model_state_dict" in prefix
        or f"{prefix}block2.b1.embed.weight" in state
        or f"{prefix}attn_block.gamma" in state
    ):
        return "mimicry"
    return "GongXinyuu" if "gen_state_dict" in prefix else "unknown code"


def _torch_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Chainer's names as torch would have them."""
    if not any("/" in key for key in state):
        return {key: tensor for key, tensor in state.items() if not re.fullmatch(TWINS, key)}
    parts = {key: key.split("/") for key in state}
    return {".".join([*p[:-1], CHAINER.get(p[-1], p[-1])]): state[key] for key, p in parts.items()}


def _grows(kind: str, options: Mapping[str, object]) -> bool:
    """Do maps grow linearly? Raises ArtifactError where that cannot be told."""
    told = {"pfnet": "nearest", "GongXinyuu": "nearest", "Sequential": "nearest", "mimicry": "bilinear"}.get(kind)
    given = options.get("upsampling", told)
    if given not in ("nearest", "bilinear"):
        raise ArtifactError(
            "does not say how maps grow from block to block; give options={'upsampling': 'nearest'}, as in the authors' "
            "nets, or {'upsampling': 'bilinear'}, as in torch_mimicry's"
        )
    return given == "bilinear"


Names = tuple[str, list[str], tuple[str, str, str], tuple[str, str], tuple[str, str]]  # see `_numbered`


def _numbered(state: Mapping[str, Tensor]) -> Names:
    """The linear map; the blocks; in each the convolutions and what goes around, the normalizations; the last of both."""
    numbers = sorted({int(m[1]) for key in state if (m := re.fullmatch(r"block(\d+)\..*", key))})
    end = numbers[-1] + 1
    conv = next(name for name in (f"c{end}", f"l{end}", f"conv{end}", "") if f"{name}.weight" in state or not name)
    return "l1", [f"block{n}" for n in numbers], ("c1", "c2", "c_sc"), ("b1", "b2"), (f"b{end}", conv)


def _sequential(state: Mapping[str, Tensor]) -> Names:
    numbers = sorted({int(m[1]) for key in state if (m := re.fullmatch(r"(\d+)\.(?:conv|model).*", key))})
    ends = sorted(int(m[1]) for key in state if (m := re.fullmatch(r"(\d+)\.weight", key)) and int(m[1]) > numbers[-1])
    linear = "dense" if "dense.weight" in state else "0"
    return (
        linear,
        [str(n) for n in numbers],
        ("conv1", "conv2", "bypass.1"),
        ("model.0", "model.4"),
        (str(ends[0]), str(ends[-1])),
    )


def _net(
    state: Mapping[str, Tensor],
    names: Callable[[Mapping[str, Tensor]], Names],
    kind: str,
    options: Mapping[str, object],
) -> tuple[Config, dict[str, Tensor]]:
    linear, blocks, (first, second, around), norms, (last_norm, last_conv) = names(state)
    matrix, end = state[f"{linear}.weight"], state[f"{last_conv}.weight"]
    c = state[f"{blocks[0]}.{first}.weight"].shape[1]
    widths = (c, *(len(state[f"{b}.{second}.weight"]) for b in blocks))
    skip = lambda b: state[f"{b}.{around}.weight"].shape[-1] if f"{b}.{around}.weight" in state else 0
    gain = _gain(state, f"{blocks[0]}.{norms[0]}")[0]
    fits = [
        i
        for i, width in enumerate(widths[1:])
        if "attn_block.theta.weight" in state and width == state["attn_block.theta.weight"].shape[1]
    ]
    config = Config(
        widths=widths,
        skips=tuple(skip(b) for b in blocks),
        side=round((len(matrix) / c) ** 0.5),
        z_dim=matrix.shape[1],
        classes=len(gain) if gain.ndim == 2 else 0,
        linear=_grows(kind, options),
        attention=fits[len(fits) // 2] if fits else None,  # mimicry's: at 32 px the second of three alike
        kernel=end.shape[-1],
        colors=len(end),
        epsilon=number(options.get("eps", 2e-5 if kind == "pfnet" else 1e-5), "eps"),
    )
    tensors = {f"linear.{leaf}": state[f"{linear}.{leaf}"] for leaf in ("weight", "bias")}
    for i, b in enumerate(blocks):
        for leaf in ("weight", "bias"):
            for j, conv in enumerate((first, second)):
                tensors[f"blocks.{i}.convs.{j}.{leaf}"] = state[f"{b}.{conv}.{leaf}"]
            if config.skips[i]:
                tensors[f"blocks.{i}.skip.{leaf}"] = state[f"{b}.{around}.{leaf}"]
        for j, norm in enumerate(norms):
            gain, bias = _gain(state, f"{b}.{norm}")
            tensors |= {f"tables.{i}.gain.{j}": torch.atleast_2d(gain), f"tables.{i}.bias.{j}": torch.atleast_2d(bias)}
            tensors |= _statistics(state, f"{b}.{norm}", f"blocks.{i}.norms.{j}")
    if config.attention is not None:
        at = f"attention.{config.attention}"
        tensors |= {f"{at}.{name}": state[f"attn_block.{name}.weight"] for name in ("theta", "phi", "g", "o")}
        tensors[f"{at}.gamma"] = state["attn_block.gamma"].reshape(())
    tensors["torgb.gain"], tensors["torgb.bias"] = _gain(state, last_norm)
    tensors |= _statistics(state, last_norm, "torgb.norm")
    tensors |= {f"torgb.conv.{leaf}": state[f"{last_conv}.{leaf}"] for leaf in ("weight", "bias")}
    return config, tensors


def _gain(state: Mapping[str, Tensor], norm: str) -> tuple[Tensor, Tensor]:
    """Gain and bias [c], or a row of them for each class."""
    if f"{norm}.embed.weight" in state:
        gain, bias = state[f"{norm}.embed.weight"].chunk(2, 1)
        return gain, bias
    if f"{norm}.gammas.weight" in state:
        return state[f"{norm}.gammas.weight"], state[f"{norm}.betas.weight"]
    return state[f"{norm}.weight"], state[f"{norm}.bias"]


def _statistics(state: Mapping[str, Tensor], norm: str, ours: str) -> dict[str, Tensor]:
    inner = f"{norm}.bn" if f"{norm}.bn.running_mean" in state else norm
    return {f"{ours}.{leaf}": state[f"{inner}.running_{leaf}"][None] for leaf in ("mean", "var")}
