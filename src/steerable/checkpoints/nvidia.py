"""NVIDIA's PyTorch files: `.pkl` snapshots of StyleGAN2-ADA, StyleGAN3 and their forks, and `state_dict`s of the same nets.

Format   github.com/NVlabs/stylegan2-ada-pytorch, github.com/NVlabs/stylegan3: a dict of G, D, G_ema …, or one of them alone. Their classes
         pickle their own source text (which is dropped unread), constructor arguments, attributes, parameters and buffers
Differs  computed in single precision, whatever `num_fp16_res` says

Constructor arguments and attributes are read where a module was pickled; of a `state_dict` alone, what shapes do not tell is asked for or
taken to be as published.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .. import foreign
from ..errors import ArtifactError
from ..foreign import Object
from ..generators import stylegan2, stylegan2_critic, stylegan3
from .checkpoint import Checkpoint
from .reading import NO_MEAN, TOLD, chosen, inside, limit, listing, named, number, prefixes, published, reading, under

LAYOUT = "NVIDIA (PyTorch)"
OPTIONS = (
    "mapping_lr",
    "conv_clamp",
    *stylegan3.Config.__dataclass_fields__,
    "channel_base",
    "margin_size",
    "mapping_kwargs",
)
STYLEGAN2, STYLEGAN3, CRITIC = "synthesis.b4.const", "synthesis.input.freqs", "b4.out.weight"
FILTER = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


def recognized(tree: foreign.Tree, options: Mapping[str, Any]) -> Checkpoint | None:
    state = named(tree)
    for leaf, read in ((STYLEGAN2, stylegan2_of), (STYLEGAN3, stylegan3_of)):
        if found := prefixes(state, leaf):
            prefix = chosen(found, options.get("part"))
            own, made = under(state, prefix), inside(tree.value, prefix)
            made = made if isinstance(made, Object) else None
            family, config, tensors, notes = read(own, made, options)
            if "w_avg" not in tensors:
                notes.append(NO_MEAN)
            critic = _critic(tree, state)
            return Checkpoint(LAYOUT, family, config, tensors, own, listing(tree), notes, critic)
    return None


def stylegan2_of(
    state: Mapping[str, Tensor], made: Object | None, options: Mapping[str, Any]
) -> tuple[str, Any, dict[str, Tensor], list[str]]:
    """A StyleGAN2 of its tensors ("synthesis.b4.const" …), of the pickled module if there is one, and of options."""
    notes: list[str] = []
    with reading("a StyleGAN2 of NVIDIA's"):
        sizes = sorted({int(m[1]) for m in (re.match(r"synthesis\.b(\d+)\.", key) for key in state) if m})
        height = state[STYLEGAN2].shape[1]
        tensors: dict[str, Tensor] = {}
        for key, tensor in state.items():
            if key.endswith(".resample_filter"):
                _usual_filter(key, tensor)
                continue
            if m := re.match(r"synthesis\.b(\d+)\.(.*)", key):
                leaf = {"noise_const": "noise", "noise_strength": "strength"}
                part, _, end = m[2].rpartition(".")
                name = f"{part}.{leaf.get(end, end)}" if part not in ("", "skip") else part or end
                key = "const" if m[2] == "const" else f"b{height << sizes.index(int(m[1]))}.{name}"
            tensors[_mapped(key)] = tensor
        lr, clamp = _told(made, sizes[-1], options, notes)
        config = stylegan2.Config.of(tensors, mapping_lr=lr, clamp=clamp)
    half = _attribute(made, "synthesis", "num_fp16_res") or 0
    if made is not None and isinstance(half, int) and half > 0:
        notes.append(f"its last {half} sizes were trained in half precision; all is computed in single precision here")
    return "stylegan2", config, tensors, notes


def _mapped(key: str) -> str:
    return re.sub(r"^mapping\.fc(\d+)\.", r"mapping.layers.\1.", {"mapping.w_avg": "w_avg"}.get(key, key))


def _usual_filter(key: str, found: Tensor) -> None:
    usual = torch.outer(FILTER, FILTER)
    if found.shape != usual.shape or not torch.allclose(found.float(), usual, atol=1e-3):
        raise ArtifactError(f"was made with another filter than [1, 3, 3, 1] ({key}), which is not known here")


def _attribute(made: Object | None, path: str, name: str) -> Any:
    """An attribute of a pickled module; else what the constructor was given, by the same name."""
    part = inside(made, path)
    found = part.state.get(name) if isinstance(part, Object) and isinstance(part.state, dict) else None
    given = _kwargs(made).get(f"{path.split('.')[0]}_kwargs")
    return given.get(name) if found is None and isinstance(given, dict) else found


def _kwargs(made: Object | None) -> dict[str, Any]:
    """What the constructor was given."""
    given = made.kwargs if made is not None else {}
    given = given.entries if isinstance(given, Object) else given
    return dict(given) if isinstance(given, dict) else {}


def _told(made: Object | None, size: int, options: Mapping[str, Any], notes: list[str]) -> tuple[float, float | None]:
    """The learning rate of the mapping and the limit of features: from options, else from the pickled module."""
    conv, dense = f"synthesis.b{size}.conv1", "mapping.fc0"
    if made is not None:
        for path in (conv, dense):
            activation = _attribute(made, path, "activation")
            published({"activation": activation} if activation is not None else {}, {"activation": "lrelu"})
        lr, clamp = _attribute(made, dense, "bias_gain"), _attribute(made, conv, "conv_clamp")
        lr = _attribute(made, "mapping", "lr_multiplier") if lr is None else lr
        lr = 0.01 if lr is None else lr
    else:
        lr, clamp = 0.01, None
        for key, value in (("mapping_lr", lr), ("conv_clamp", clamp)):
            if key not in options:
                notes.append(TOLD.format(key, value, key))
    lr, clamp = options.get("mapping_lr", lr), options.get("conv_clamp", clamp)
    return number(lr, "mapping_lr"), limit(clamp, "conv_clamp")


# -- StyleGAN3 --------------------------------------------------------------------------------------------------------------------------

NAMES = (
    (r"^mapping\.fc(\d+)\.", r"mapping.layers.\1."),
    (r"^mapping\.w_avg$", "w_avg"),
    (r"^synthesis\.input\.", "input."),
    (r"^synthesis\.L(\d+)_\d+_\d+\.", r"L\1."),
    (r"\.magnitude_ema$", ".magnitude"),
)  # what NVIDIA's code calls the tensors, and what they are called here
SAID = {
    "img_resolution": "resolution",
    "img_channels": "colors",
    "margin_size": "margin",
    "use_radial_filters": "radial",
    "conv_clamp": "clamp",
}  # likewise its options; the others have the same names
CONV = re.compile(r"synthesis\.(L(\d+)_(\d+)_(\d+))\.weight")


def stylegan3_of(
    state: Mapping[str, Tensor], made: Object | None, options: Mapping[str, Any]
) -> tuple[str, Any, dict[str, Tensor], list[str]]:
    """A StyleGAN3 of its tensors ("synthesis.L0_36_512.weight" …) and the options of its constructor.

    Options that are not given and that shapes do not tell are taken to be the published ones; the layers' sizes, widths and filters must
    bear that out. Raises ArtifactError.
    """
    convs = sorted((int(m[2]), int(m[3]), int(m[4]), m[1]) for m in map(CONV.fullmatch, state) if m)
    if len(convs) < 2 or [i for i, *_ in convs] != list(range(len(convs))):
        raise ArtifactError(
            "is a StyleGAN3 of NVIDIA's, but damaged: synthesis.L0_… or one of those after it is missing"
        )
    said = _said(_kwargs(made) | {key: value for key, value in options.items() if key != "part"})
    with reading("a StyleGAN3 of NVIDIA's"):
        config = _configured(state, convs, said)
    tensors = {}
    for key, tensor in state.items():
        for theirs, ours in (*NAMES, (rf"^L{config.num_layers}\.", "torgb.")):
            key = re.sub(theirs, ours, key)
        tensors[key] = tensor
    usual = {
        "mapping_lr": 0.01,
        "clamp": 256.0,
        "output_scale": 0.25,
    }  # neither shapes nor filters would bear these out
    guessed = [TOLD.format(key, value, key) for key, value in usual.items() if made is None and key not in said]
    return "stylegan3", config, tensors, guessed


def _said(options: dict[str, Any]) -> dict[str, Any]:
    """What the options of NVIDIA's constructor say, under our names."""
    parts = {part: options.pop(part, None) or {} for part in ("mapping_kwargs", "synthesis_kwargs")}
    if not all(isinstance(part, dict) for part in parts.values()):
        raise ArtifactError(
            "is a StyleGAN3 whose options make no sense: mapping_kwargs and synthesis_kwargs are dictionaries"
        )
    said = {SAID.get(key, key): value for key, value in (options | parts["synthesis_kwargs"]).items()}
    renamed = (("num_layers", "depth"), ("lr_multiplier", "mapping_lr"))
    said |= {ours: parts["mapping_kwargs"][theirs] for theirs, ours in renamed if theirs in parts["mapping_kwargs"]}
    return {key: value for key, value in said.items() if key in stylegan3.Config.__dataclass_fields__}


def _configured(
    state: Mapping[str, Tensor], convs: list[tuple[int, int, int, str]], said: dict[str, Any]
) -> stylegan3.Config:
    """The configuration that shapes and options tell together."""
    at, w_dim = f"synthesis.{convs[0][3]}", state["synthesis.input.affine.weight"].shape[1]
    c_dim = state["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in state else 0
    seen = {
        "resolution": convs[-1][1],
        "colors": convs[-1][2],
        "num_layers": len(convs) - 1,
        "w_dim": w_dim,
        "c_dim": c_dim,
        "z_dim": state["mapping.fc0.weight"].shape[1] - (w_dim if c_dim else 0),
        "depth": sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", key)) for key in state),
        "conv_kernel": state[f"{at}.weight"].shape[-1],
        "radial": state[f"{at}.down_filter"].ndim == 2,
    }
    for key in seen.keys() & said.keys():
        if seen[key] != said[key]:
            raise ArtifactError(f"says {key}={said[key]!r} by its options, {seen[key]!r} by its tensors")
    config = stylegan3.Config(**(said | seen))
    if not {"channel_base", "channel_max"} <= said.keys():
        most = said.get("channel_max", max(c for _, _, c, _ in convs[:-1]))
        bands = stylegan3.bands(config)
        least = [(c - 0.5) * 2 * b.cutoff for (_, _, c, _), b in zip(convs, bands, strict=True) if c < most]
        base = math.ceil(max(least[:-1], default=most * config.resolution))
        config = replace(config, channel_max=most, channel_base=said.get("channel_base", base))
    for (i, size, channels, layer), band in zip(convs, stylegan3.bands(config), strict=True):
        if (size, channels) != (band.size, band.channels) or state[f"synthesis.{layer}.weight"].shape[0] != channels:
            raise ArtifactError(
                f"has a layer {i}, {layer}, that would be {band.size} px with {band.channels} channels by its options; "
                "give channel_base, channel_max, margin_size, num_critical, first_stopband and last_stopband_rel as it was made with"
            )
    return config


# -- the discriminator ------------------------------------------------------------------------------------------------------------------


def _critic(tree: foreign.Tree, state: Mapping[str, Tensor]) -> Any:
    """A function that makes the discriminator, where there is one."""
    found = prefixes(state, CRITIC)
    if not found:
        return None
    own, made = under(state, found[0]), inside(tree.value, found[0])

    def critic() -> Any:
        told: dict[str, Any] = {}
        with reading("a StyleGAN2 of NVIDIA's with a discriminator"):
            if isinstance(made, Object):
                told["clamp"] = _attribute(made, "b4.conv", "conv_clamp")
                spread = inside(made, "b4.mbstd")
                told["group"] = spread.state.get("group_size") if isinstance(spread, Object) else 4
                told["mapping_lr"] = _attribute(made, "mapping.fc0", "bias_gain") or 0.01
            tensors = {_mapped(key): t for key, t in own.items() if not key.endswith(".resample_filter")}
            config = stylegan2_critic.Config.of(tensors, told)
        return stylegan2_critic.build(config, tensors)

    return critic
