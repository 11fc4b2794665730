"""BigGAN as HuggingFace's conversion and as ajbrock's BigGAN-PyTorch write it.

HuggingFace   pytorch_model.bin of pytorch-pretrained-BigGAN: BigGAN-deep, statistics for 51 truncations. Its config.json says which
              blocks double the size; else it is every second one, as in the published nets
ajbrock       G.pth, G_ema.pth …: BigGAN and BigGAN-deep; classes by a shared embedding or by a table in each normalization; z dealt out or
              not; spectral normalization or not; statistics by any of its three normalizations

Widths, blocks, attention, chunks and classes are read off names and shapes. Options: HuggingFace's config.json, of which only `layers` and
`eps` tell what the tensors do not; `BN_eps` (ajbrock's, 1e-5); `part` (which of several nets in a file).
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import foreign
from ..errors import ArtifactError
from ..generators.biggan import Config
from .checkpoint import Checkpoint
from .reading import TOLD, chosen, listing, named, number, prefixes, reading, under
from .spectral import folded

LAYOUT = "BigGAN"
CONFIG = (
    "output_dim",
    "z_dim",
    "class_embed_dim",
    "channel_width",
    "num_classes",
    "attention_layer_position",
    "n_stats",
)
CLASSES = 4096  # in tables, for which an embedding of as many columns is made
OPTIONS = ("layers", "eps", *CONFIG, "BN_eps")


def recognized(tree: foreign.Tree, options: Mapping[str, object]) -> Checkpoint | None:
    """What such a file holds; None for another file. Raises ArtifactError where it is damaged."""
    state = named(tree)
    for layout, (leaf, read) in READERS.items():
        if found := prefixes(state, leaf):
            prefix = chosen(found, options.get("part"))
            source = under(state, prefix)
            with reading(f"a {layout}"):
                config, tensors, notes = read(folded(source), options)
            return Checkpoint(layout, "biggan", config, tensors, source, held=listing(tree), notes=notes)
    return None


def _count(state: Mapping[str, Tensor], pattern: str) -> list[int]:
    """The numbers that stand in the names that match, in order."""
    return sorted({int(m[1]) for key in state if (m := re.match(pattern, key))})


# -- HuggingFace ------------------------------------------------------------------------------------------------------------------------


def _huggingface(
    state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[Config, dict[str, Tensor], list[str]]:
    notes: list[str] = []
    attends = _count(state, r"generator\.layers\.(\d+)\.gamma")
    blocks = [i for i in _count(state, r"generator\.layers\.(\d+)\.") if i not in attends]
    ins = [state[f"generator.layers.{i}.conv_0.weight"].shape[1] for i in blocks]
    outs = [state[f"generator.layers.{i}.conv_3.weight"].shape[0] for i in blocks]
    if ins[1:] != outs[:-1]:
        raise ArtifactError(f"has blocks that do not follow each other: {outs[:-1]} channels are read as {ins[1:]}")
    if "layers" in options:
        ups = tuple(bool(layer[0]) for layer in options["layers"])
    else:
        ups = tuple(i % 2 == 1 for i in range(len(blocks)))
        notes.append(TOLD.format("which blocks double the size", "every second one", "layers"))
    notes += [] if "eps" in options else [TOLD.format("eps", "1e-4", "eps")]
    embed, linear = state["embeddings.weight"], state["generator.gen_z.weight"]
    eps, own = number(options.get("eps", 1e-4), "eps"), embed.shape[0]
    config = Config(
        widths=(ins[0], *outs),
        ups=ups,
        deep=True,
        z_dim=linear.shape[1] - own,
        embedding=own,
        classes=embed.shape[1],
        attention=tuple(sum(b < at for b in blocks) - 1 for at in attends),
        levels=len(state["generator.bn.running_means"]),
        epsilon=eps,
        head_epsilon=eps,
    )
    side = 4 << sum(ups)
    told = dict(
        zip(
            CONFIG,
            (side, config.z_dim, own, outs[-1], config.classes, attends[0] if attends else -1, config.levels),
            strict=True,
        )
    )
    for key, value in told.items():
        if key in options and options[key] != value:
            raise ArtifactError(f"holds tensors of {key}={value}; the configuration says {key}={options[key]!r}"[:300])
    rows = lambda t: t.unflatten(0, (4, 4, -1)).movedim(2, 0).flatten(0, 2)  # its rows run over h, w, c
    tensors = {
        "embed": embed.T.contiguous(),
        "linear.weight": rows(linear),
        "linear.bias": rows(state["generator.gen_z.bias"]),
    }
    for i, theirs in enumerate(blocks):
        for j in range(4):
            at, part = f"generator.layers.{theirs}", f"blocks.{i}"
            for leaf in ("weight", "bias"):
                tensors[f"{part}.convs.{j}.{leaf}"] = state[f"{at}.conv_{j}.{leaf}"]
            tensors |= {f"{part}.norms.{j}.{ours}": state[f"{at}.bn_{j}.{them}"] for ours, them in _STATISTICS}
            tensors[f"maps.{i}.gain.{j}"] = state[f"{at}.bn_{j}.scale.weight"]
            tensors[f"maps.{i}.bias.{j}"] = state[f"{at}.bn_{j}.offset.weight"]
    for i, theirs in zip(config.attention, attends, strict=True):
        at = f"generator.layers.{theirs}"
        names = {"theta": "snconv1x1_theta", "phi": "snconv1x1_phi", "g": "snconv1x1_g", "o": "snconv1x1_o_conv"}
        tensors |= {f"attention.{i}.{ours}": state[f"{at}.{them}.weight"] for ours, them in names.items()}
        tensors[f"attention.{i}.gamma"] = state[f"{at}.gamma"].reshape(())
    tensors |= {f"torgb.norm.{ours}": state[f"generator.bn.{them}"] for ours, them in _STATISTICS}
    tensors |= {"torgb.gain": state["generator.bn.weight"], "torgb.bias": state["generator.bn.bias"]}
    # Of as many channels as come in, three are used.
    tensors |= {f"torgb.conv.{leaf}": state[f"generator.conv_to_rgb.{leaf}"][:3] for leaf in ("weight", "bias")}
    return config, tensors, notes


_STATISTICS = (("mean", "running_means"), ("var", "running_vars"))


# -- ajbrock ----------------------------------------------------------------------------------------------------------------------------


def _ajbrock(state: Mapping[str, Tensor], options: Mapping[str, Any]) -> tuple[Config, dict[str, Tensor], list[str]]:
    notes: list[str] = []
    count, attends = 1 + _count(state, r"blocks\.(\d+)\.")[-1], _count(state, r"blocks\.(\d+)\.1\.gamma")
    deep, shared = "blocks.0.0.conv3.weight" in state, "shared.weight" in state
    last = 4 if deep else 2
    widths = tuple(state[f"blocks.{i}.0.conv1.weight"].shape[1] for i in range(count))
    widths = (*widths, state[f"blocks.{count - 1}.0.conv{last}.weight"].shape[0])
    linear, gain = state["linear.weight"], state["blocks.0.0.bn1.gain.weight"]
    own = state["shared.weight"].shape[1] if shared else gain.shape[0]
    if not shared and own > CLASSES:
        raise ArtifactError(f"has tables of {own} classes; at most {CLASSES} are read")
    chunk = gain.shape[1] - own if shared else 0  # of z in a block's row
    z = linear.shape[1] - (own if deep else 0)
    hierarchical = chunk > 0 and not deep
    if deep and count % 2:
        raise ArtifactError(f"has {count} blocks; in its deep nets there are two to each size")
    if deep and chunk != z:
        raise ArtifactError(
            "was made with hier=False, and its blocks are not given z; of deep nets only hier=True is known"
        )
    epsilon = number(options.get("BN_eps", 1e-5), "BN_eps")
    notes += [] if "BN_eps" in options else [TOLD.format("BN_eps", "1e-5", "BN_eps")]
    side = int((linear.shape[0] // widths[0]) ** 0.5)
    config = Config(
        widths=widths,
        ups=(False, True) * (count // 2) if deep else (True,) * count,
        deep=deep,
        hierarchical=hierarchical,
        z_dim=z * (count + 1) if hierarchical else z,
        embedding=own,
        classes=len(state["shared.weight"]) if shared else own,
        attention=tuple(attends),
        side=side,
        epsilon=epsilon,
        head_epsilon=1e-5,
        bound=None,
    )
    last_first = lambda m: torch.cat([m[:, own:], m[:, :own]], 1)  # its rows are (class, z)
    tensors = {"linear.bias": state["linear.bias"], "linear.weight": last_first(linear) if deep else linear}
    tensors["embed"] = state["shared.weight"] if shared else torch.eye(own)
    for i in range(count):
        at = f"blocks.{i}.0"
        for j in range(last):
            for leaf in ("weight", "bias"):
                tensors[f"blocks.{i}.convs.{j}.{leaf}"] = state[f"{at}.conv{j + 1}.{leaf}"]
            tensors |= _statistics(f"blocks.{i}.norms.{j}", f"{at}.bn{j + 1}", state)
            for map_ in ("gain", "bias"):
                matrix = state[f"{at}.bn{j + 1}.{map_}.weight"]
                tensors[f"maps.{i}.{map_}.{j}"] = (
                    (last_first(matrix) if chunk else matrix) if shared else matrix.T.contiguous()
                )
        if not deep:
            tensors |= {f"blocks.{i}.skip.{leaf}": state[f"{at}.conv_sc.{leaf}"] for leaf in ("weight", "bias")}
    for i in attends:
        tensors |= {
            f"attention.{i}.{name}": state[f"blocks.{i}.1.{name}.weight"] for name in ("theta", "phi", "g", "o")
        }
        tensors[f"attention.{i}.gamma"] = state[f"blocks.{i}.1.gamma"].reshape(())
    tensors |= _statistics("torgb.norm", "output_layer.0", state)
    tensors |= {f"torgb.{leaf}": state[f"output_layer.0.{leaf}"] for leaf in ("gain", "bias")}
    tensors |= {f"torgb.conv.{leaf}": state[f"output_layer.2.{leaf}"] for leaf in ("weight", "bias")}
    return config, tensors, notes


def _statistics(ours: str, theirs: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mean and variance of a normalization; standing statistics are sums, with a counter beside them."""
    for part, kind in ((theirs, "stored"), (f"{theirs}.bn", "stored"), (f"{theirs}.bn", "running")):
        if f"{part}.{kind}_mean" in state:
            counter = state.get(f"{part}.accumulation_counter", torch.zeros(1))
            times = float(counter) if float(counter) > 0 else 1.0
            return {f"{ours}.{leaf}": state[f"{part}.{kind}_{leaf}"].float()[None] / times for leaf in ("mean", "var")}
    raise ArtifactError(f"holds no statistics of {theirs}: of its normalizations only batch normalization is known")


READERS = {
    "BigGAN of HuggingFace": ("generator.gen_z.bias", _huggingface),
    "BigGAN of ajbrock": ("blocks.0.0.conv1.bias", _ajbrock),
}
