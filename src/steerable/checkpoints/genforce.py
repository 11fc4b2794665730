"""genforce's `.pth` (github.com/genforce/genforce, sefa, interfacegan, higan) and of its successor Hammer (github.com/bytedance/Hammer).

Format   generator_smooth, generator, discriminator …, perhaps behind "models"; Hammer adds the constructor's arguments (model_kwargs_init).
         ProGAN "layer0.weight", StyleGAN "synthesis.layer0.const", StyleGAN2 "synthesis.early_layer.const"

In genforce's StyleGAN2 kernels of up-sampling layers are turned around and styles have 1 added, in Hammer's neither.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .. import foreign
from ..errors import ArtifactError
from ..generators import progan, stylegan1, stylegan2
from ..generators.opening import counted
from .checkpoint import Checkpoint
from .reading import (
    NO_MEAN,
    Taken,
    chosen,
    grown,
    last,
    limit,
    listing,
    named,
    number,
    prefixes,
    published,
    reading,
    under,
    vector,
)
from .tensorflow import fuses

LAYOUT = "genforce and Hammer"
OPTIONS = ("mapping_lr_mul", "fused_scale", "final_tanh", "use_wscale", "label_size", "conv_clamp")
UNUSED = {
    "progan": r"lod|output\d+\..*|.*\.filter",
    "stylegan1": r"(synthesis\.)?lod|synthesis\.output\d+\..*|.*\.(kernel|filter)",
    "stylegan2": r".*\.(kernel|filter)",
}  # heads of smaller sizes, and filters, which are the usual ones
PROGAN, STYLEGAN1, STYLEGAN2 = "layer0.weight", "synthesis.layer0.const", "synthesis.early_layer.const"


def recognized(tree: foreign.Tree, options: Mapping[str, Any]) -> Checkpoint | None:
    state = named(tree)
    for family, leaf, read in (
        ("stylegan2", STYLEGAN2, stylegan2_of),
        ("stylegan1", STYLEGAN1, stylegan1_of),
        ("progan", PROGAN, progan_of),
    ):
        found = [p for p in prefixes(state, leaf) if family != "progan" or _grown_from_4(state, p)]
        if found:
            prefix = chosen(found, options.get("part"))
            own = under(state, prefix)
            given = _arguments(tree.value, prefix) | {k: v for k, v in options.items() if k != "part"}
            taken = Taken(own)
            config, tensors, notes = read(taken, given)
            taken.done(UNUSED[family])
            if family != "progan" and "w_avg" not in tensors:
                notes.append(NO_MEAN)
            return Checkpoint(LAYOUT, family, config, tensors, own, listing(tree), notes)
    if any(key.endswith("synthesis.layer0.conv.style.weight") for key in state):
        raise ArtifactError("is Hammer's StyleGAN3, which is not opened; NVIDIA's own files of StyleGAN3 are")
    return None


def _grown_from_4(state: Mapping[str, Tensor], prefix: str) -> bool:
    """Does a ProGAN begin here, and not a chain of something else?"""
    first = state[f"{prefix}{PROGAN}"]
    return first.ndim == 4 and tuple(first.shape[2:]) == (4, 4) and f"{prefix}output0.weight" in state


def _arguments(value: Any, prefix: str) -> dict[str, Any]:
    """The constructor's arguments, which Hammer keeps."""
    kept = value.get("model_kwargs_init") if isinstance(value, dict) else None
    found = kept.get(prefix.rstrip(".").rpartition(".")[2]) if isinstance(kept, dict) else None
    return {str(key): given for key, given in found.items() if given is not None} if isinstance(found, dict) else {}


def progan_of(
    state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[progan.Config, dict[str, Tensor], list[str]]:
    """From "layer0.weight" … Raises ArtifactError."""
    # With labels that code normalizes z twice.
    published(options, {"use_wscale": True, "final_tanh": False, "label_size": 0})
    grown(state, "lod")
    tensors: dict[str, Tensor] = {}
    with reading("a ProGAN of genforce's"):
        blocks = counted(state, lambda b: f"layer{2 * b}.weight")
        for b in range(blocks):
            for j, part in ((2 * b, "conv0" if b else "dense"), (2 * b + 1, "conv1" if b else "conv")):
                weight = state[f"layer{j}.weight"]
                if part == "dense":
                    weight = weight.flip(2, 3)
                elif part == "conv0" and options.get("fused_scale", False):
                    weight = weight.transpose(0, 1).flip(2, 3)
                tensors[f"b{4 << b}.{part}.weight"] = weight
                tensors[f"b{4 << b}.{part}.bias"] = state[f"layer{j}.bias"]
        for leaf in ("weight", "bias"):
            tensors[f"torgb.{leaf}"] = state[f"output{blocks - 1}.{leaf}"]
        return progan.Config.of(tensors), tensors, []


def stylegan1_of(
    state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[stylegan1.Config, dict[str, Tensor], list[str]]:
    """From "synthesis.layer0.const" … Raises ArtifactError."""
    usual = {"use_wscale": True, "final_tanh": False, "const_input": True, "repeat_w": True, "noise_type": "spatial"}
    published(options, usual)
    grown(state, "synthesis.lod")
    tensors: dict[str, Tensor] = {}
    with reading("a StyleGAN of genforce's"):
        blocks = counted(state, "synthesis.output{}.weight".format)
        for b in range(blocks):
            for j, ours in enumerate(("conv0", "conv1") if b else ("const", "conv")):
                at, part = f"synthesis.layer{2 * b + j}", f"b{4 << b}.{ours}"
                strength, noise = (
                    (f"{at}.noise_strength", f"{at}.noise")
                    if f"{at}.noise_strength" in state
                    else (f"{at}.apply_noise.weight", f"{at}.apply_noise.noise")
                )
                tensors[f"{part}.bias"], tensors[f"{part}.strength"] = state[f"{at}.bias"], vector(state[strength])
                tensors[f"{part}.noise"] = last(state[noise], 2)
                for leaf in ("weight", "bias"):
                    tensors[f"{part}.affine.{leaf}"] = state[f"{at}.style.{leaf}"]
                if ours == "const":
                    tensors["b4.const.const"] = last(state[STYLEGAN1], 3)
                else:
                    weight = state[f"{at}.weight"]
                    turned = ours == "conv0" and fuses(options, 4 << b)
                    tensors[f"{part}.conv.weight"] = weight.flip(2, 3) if turned else weight
        for leaf in ("weight", "bias"):
            tensors[f"torgb.{leaf}"] = state[f"synthesis.output{blocks - 1}.{leaf}"]
        lr = _mapping(state, options, tensors)
        for embed in ("mapping.label_weight", "mapping.embedding"):
            if embed in state:
                tensors["mapping.embed"] = state[embed]
        return stylegan1.Config.of(tensors, lr), tensors, []


def _mapping(state: Mapping[str, Tensor], options: Mapping[str, Any], tensors: dict[str, Tensor]) -> float:
    """The dense layers and the mean w; their learning rate."""
    for key in state:
        if m := re.fullmatch(r"mapping\.dense(\d+)\.(weight|bias)", key):
            tensors[f"mapping.layers.{m[1]}.{m[2]}"] = state[key]
    if (mean := next((key for key in ("truncation.w_avg", "w_avg") if key in state), None)) is not None:
        tensors["w_avg"] = state[mean]
    return number(options.get("mapping_lr_mul", 0.01), "mapping_lr_mul")


def stylegan2_of(
    state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[stylegan2.Config, dict[str, Tensor], list[str]]:
    """From "synthesis.early_layer.const" … Raises ArtifactError."""
    usual = {"use_wscale": True, "final_tanh": False, "const_input": True, "repeat_w": True, "noise_type": "spatial"}
    published(options, usual | {"demodulate": True})
    tensors: dict[str, Tensor] = {}
    with reading("a StyleGAN2 of genforce's"):
        hammer = "truncation.w_avg" not in state
        tensors["const"] = last(state[STYLEGAN2], 3)
        blocks, height = 1 + counted(state, lambda b: f"synthesis.layer{2 * b + 2}.weight"), tensors["const"].shape[1]
        for b in range(blocks):
            part = f"b{height << b}"
            for j, ours in ((2 * b - 1, "conv0"), (2 * b, "conv1")) if b else ((0, "conv1"),):
                at = f"synthesis.layer{j}"
                _styled(state, tensors, at, f"{part}.{ours}", ours == "conv0" and not hammer, not hammer)
                if f"{at}.noise" in state:
                    tensors[f"{part}.{ours}.noise"] = last(state[f"{at}.noise"], 2)
                    tensors[f"{part}.{ours}.strength"] = last(state[f"{at}.noise_strength"], 0)
            if f"synthesis.output{b}.weight" in state:
                _styled(state, tensors, f"synthesis.output{b}", f"{part}.torgb", False, not hammer)
            if f"synthesis.residual{b}.weight" in state:
                tensors[f"{part}.skip"] = state[f"synthesis.residual{b}.weight"]
        lr, clamp = _mapping(state, options, tensors), limit(options.get("conv_clamp"), "conv_clamp")
        if "mapping.label_weight" in state:
            tensors["mapping.embed"] = state["mapping.label_weight"]
        for theirs in ("mapping.LabelEmbed", "mapping.embedding"):
            if f"{theirs}.weight" in state:
                for leaf in ("weight", "bias"):
                    tensors[f"mapping.embed.{leaf}"] = state[f"{theirs}.{leaf}"]
        return stylegan2.Config.of(tensors, lr, clamp), tensors, []


def _styled(
    state: Mapping[str, Tensor], tensors: dict[str, Tensor], theirs: str, ours: str, turned: bool, raised: bool
) -> None:
    weight = state[f"{theirs}.weight"]
    tensors[f"{ours}.weight"] = weight.flip(2, 3) if turned else weight
    tensors[f"{ours}.bias"] = state[f"{theirs}.bias"]
    tensors[f"{ours}.affine.weight"] = state[f"{theirs}.style.weight"]
    tensors[f"{ours}.affine.bias"] = state[f"{theirs}.style.bias"] + (1 if raised else 0)
