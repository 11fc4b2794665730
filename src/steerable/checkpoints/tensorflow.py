"""NVIDIA's TensorFlow files: `.pkl` of (G, D, Gs), or of one of them, of ProGAN, StyleGAN, StyleGAN2 and StyleGAN2-ADA.

Format   dnnlib/tflib/network.py of github.com/NVlabs/stylegan2, tfutil.py of tkarras/progressive_growing_of_gans: a network pickles
         its name, static_kwargs, variables as (name, array) pairs, further networks as components, and source text (which is not looked at)

Kernels are [h w in out]. One that is meant for a transposed convolution is turned around by 180 degrees. StyleGAN2 adds 1 to `mod_bias`.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from .. import foreign
from ..errors import ArtifactError
from ..foreign import Object
from ..generators import progan, stylegan1, stylegan2
from ..generators.opening import counted
from ..nn.stylegan_ops import EPSILON
from .checkpoint import Checkpoint
from .reading import NO_MEAN, Taken, grown, last, limit, listing, number, published, reading

LAYOUT = "NVIDIA (TensorFlow)"
OPTIONS = ("label_size", "fused_scale", "mapping_lrmul", "conv_clamp")
NAMES = ("G", "D", "Gs")  # of a tuple of three
FUSED = 128  # px from which StyleGAN's code makes one transposed convolution of up-sampling and convolution
HEADS = ("synthesis/", "mapping/", "G_synthesis/", "G_mapping/")


def recognized(tree: foreign.Tree, options: Mapping[str, Any]) -> Checkpoint | None:
    networks = _networks(tree.value)
    if not networks:
        return None
    part = options.get("part") or next(
        (name for name in ("Gs", "G_ema", "G") if name in networks), next(iter(networks))
    )
    if part not in networks:
        raise ArtifactError(f"holds no network {str(part)[:80]!r}; it holds {', '.join(networks)}")
    network = networks[part]
    state, static = variables(network), _static(network) | {k: v for k, v in options.items() if k != "part"}
    own = Taken(_flat(state))
    held = list(networks) if len(networks) > 1 else listing(tree)
    for family, mark, read in (
        ("progan", "4x4/Dense/weight", progan_of),
        ("stylegan1", "4x4/Const/StyleMod/weight", stylegan1_of),
        ("stylegan2", "4x4/Conv/mod_weight", stylegan2_of),
    ):
        if mark in own:
            grown(state, *(f"{head}lod" for head in ("", *HEADS)))
            config, tensors, notes = read(own, static)
            own.done(r"lod|ToRGB_lod[1-9]\d*/.*")
            if family != "progan" and "w_avg" not in tensors:
                notes.append(NO_MEAN)
            return Checkpoint(LAYOUT, family, config, tensors, state, held, notes)
    function = network.state.get("build_func_name") or network.state.get("name")
    raise ArtifactError(
        f"holds {part}, a TensorFlow network {str(function)[:80]!r} that is not known here; "
        "there is: ProGAN, StyleGAN, StyleGAN2, StyleGAN2-ADA"
    )


def _networks(value: Any) -> dict[str, Object]:
    """The networks in a file, by name."""
    if isinstance(value, tuple | list):
        value = dict(zip(NAMES if len(value) == 3 else map(str, range(len(value))), value, strict=False))
    elif isinstance(value, Object):
        value = {str(value.state.get("name", "G"))[:80] if isinstance(value.state, dict) else "G": value}
    found = value if isinstance(value, dict) else {}
    return {
        str(name): network
        for name, network in found.items()
        if isinstance(network, Object) and isinstance(network.state, dict) and "variables" in network.state
    }


def variables(network: Object) -> dict[str, Tensor]:
    """The variables of a network and its components: "synthesis/4x4/Const/const" …"""
    return foreign.state_dict(network)


def _static(network: Object) -> dict[str, Any]:
    """The static keyword arguments of a network, and beneath them those of its components."""
    state, found = network.state, {}
    components = state.get("components")
    for part in components.values() if isinstance(components, dict) else ():
        if isinstance(part, Object) and isinstance(part.state, dict):
            found |= _static(part)
    own = state.get("static_kwargs")
    return found | (dict(own) if isinstance(own, dict) else {})


def _flat(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Variables without the name of their component."""
    return {key[len(h) :] if (h := key[: key.find("/") + 1]) in HEADS else key: t for key, t in state.items()}


def kernel(weight: Float[Tensor, "h w i o"], turned: bool = False) -> Float[Tensor, "o i h w"]:
    """A kernel in our order of axes; turned around where it is meant for a transposed convolution."""
    h, w, i, o = weight.shape
    made = weight.new_empty(o, i, h, w)
    for y in range(h):  # matrix by matrix, which is twice as fast as all axes at once
        for x in range(w):
            made[:, :, h - 1 - y if turned else y, w - 1 - x if turned else x] = weight[y, x].T
    return made


# -- ProGAN -----------------------------------------------------------------------------------------------------------------------------


def progan_of(
    state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[progan.Config, dict[str, Tensor], list[str]]:
    """From "4x4/Dense/weight" …"""
    usual = {"use_wscale": True, "use_pixelnorm": True, "use_leakyrelu": True, "normalize_latents": True}
    published(options, usual | {"pixelnorm_epsilon": EPSILON})
    tensors: dict[str, Tensor] = {}
    with reading("a ProGAN"):
        tensors["b4.dense.weight"] = state["4x4/Dense/weight"].unflatten(1, (-1, 4, 4)).transpose(0, 1)
        tensors["b4.dense.bias"] = state["4x4/Dense/bias"]
        parts = [("b4.conv", "4x4/Conv"), ("torgb", "ToRGB_lod0")]
        blocks = 1 + counted(state, lambda b: f"{8 << b}x{8 << b}/Conv1/weight")
        for size in (4 << b for b in range(1, blocks)):
            at = f"{size}x{size}/Conv0"
            fused = f"{at}_up/weight" in state  # [h w out in]
            up = f"{at}_up" if fused else at
            weight = state[f"{up}/weight"]
            tensors[f"b{size}.conv0.weight"] = kernel(weight.transpose(2, 3), True) if fused else kernel(weight)
            tensors[f"b{size}.conv0.bias"] = state[f"{up}/bias"]
            parts.append((f"b{size}.conv1", f"{size}x{size}/Conv1"))
        for ours, theirs in parts:
            tensors[f"{ours}.weight"] = kernel(state[f"{theirs}/weight"])
            tensors[f"{ours}.bias"] = state[f"{theirs}/bias"]
        return progan.Config.of(tensors, int(options.get("label_size") or 0)), tensors, []


# -- StyleGAN ---------------------------------------------------------------------------------------------------------------------------

STYLEGAN1 = {
    "use_styles": True,
    "const_input_layer": True,
    "use_noise": True,
    "use_pixel_norm": False,
    "use_instance_norm": True,
    "use_wscale": True,
    "normalize_latents": True,
    "nonlinearity": "lrelu",
    "mapping_nonlinearity": "lrelu",
    "blur_filter": [1, 2, 1],
}


def stylegan1_of(
    own: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[stylegan1.Config, dict[str, Tensor], list[str]]:
    """From "4x4/Const/const", "Dense0/weight" …"""
    published(options, STYLEGAN1)
    tensors: dict[str, Tensor] = {}
    with reading("a StyleGAN"):
        blocks = 1 + counted(own, lambda b: f"{8 << b}x{8 << b}/Conv1/weight")
        for b in range(blocks):
            size = 4 << b
            for j, (ours, theirs) in enumerate(
                (("conv0", "Conv0_up"), ("conv1", "Conv1")) if b else (("const", "Const"), ("conv", "Conv"))
            ):
                at, part = f"{size}x{size}/{theirs}", f"b{size}.{ours}"
                tensors[f"{part}.bias"] = own[f"{at}/bias"]
                tensors[f"{part}.strength"] = own[f"{at}/Noise/weight"]
                tensors[f"{part}.noise"] = last(own[f"noise{2 * b + j}"], 2)
                tensors[f"{part}.affine.weight"] = own[f"{at}/StyleMod/weight"].transpose(0, 1)
                tensors[f"{part}.affine.bias"] = own[f"{at}/StyleMod/bias"]
                if ours == "const":
                    tensors["b4.const.const"] = last(own["4x4/Const/const"], 3)
                else:
                    turned = ours == "conv0" and fuses(options, size)
                    tensors[f"{part}.conv.weight"] = kernel(own[f"{at}/weight"], turned)
        tensors["torgb.weight"], tensors["torgb.bias"] = kernel(own["ToRGB_lod0/weight"]), own["ToRGB_lod0/bias"]
        return stylegan1.Config.of(tensors, _mapping(own, options, tensors)), tensors, []


def fuses(options: Mapping[str, Any], size: int) -> bool:
    """Was the layer that doubles the map to this size one transposed convolution, its kernel turned around?"""
    given = options.get("fused_scale", "auto")
    return given is True or (given == "auto" and size >= FUSED)


def _mapping(own: Mapping[str, Tensor], options: Mapping[str, Any], tensors: dict[str, Tensor]) -> float:
    """The dense layers, what a label is joined by, and the mean w if it was kept; their learning rate."""
    for i in range(counted(own, "Dense{}/weight".format)):
        tensors[f"mapping.layers.{i}.weight"] = own[f"Dense{i}/weight"].transpose(0, 1)
        tensors[f"mapping.layers.{i}.bias"] = own[f"Dense{i}/bias"]
    for theirs, ours in (("LabelConcat/weight", "mapping.embed"), ("dlatent_avg", "w_avg")):
        if theirs in own:
            tensors[ours] = own[theirs]
    return number(options.get("mapping_lrmul", 0.01), "mapping_lrmul")


# -- StyleGAN2 --------------------------------------------------------------------------------------------------------------------------

STYLEGAN2 = {
    "normalize_latents": True,
    "nonlinearity": "lrelu",
    "mapping_nonlinearity": "lrelu",
    "resample_kernel": [1, 3, 3, 1],
}


def stylegan2_of(
    own: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[stylegan2.Config, dict[str, Tensor], list[str]]:
    """From "4x4/Conv/mod_weight" …; configurations B to F, and StyleGAN2-ADA's."""
    published(options, STYLEGAN2)
    tensors: dict[str, Tensor] = {}
    with reading("a StyleGAN2"):
        tensors["const"] = last(own["4x4/Const/const"], 3)
        blocks, height = 1 + counted(own, lambda b: f"{8 << b}x{8 << b}/Conv1/weight"), tensors["const"].shape[1]
        for b in range(blocks):
            at, part = f"{4 << b}x{4 << b}", f"b{height << b}"
            convs = (("conv0", "Conv0_up"), ("conv1", "Conv1")) if b else (("conv1", "Conv"),)
            for ours, theirs in convs:
                _styled(own, tensors, f"{at}/{theirs}", f"{part}.{ours}", turned=ours == "conv0")
                noise = f"noise{2 * b - (ours == 'conv0')}"
                if noise in own:
                    tensors[f"{part}.{ours}.noise"] = last(own[noise], 2)
                    tensors[f"{part}.{ours}.strength"] = last(own[f"{at}/{theirs}/noise_strength"], 0)
            # Growing nets have a head for each size, of which the last is used.
            head = "ToRGB_lod0" if b == blocks - 1 and "ToRGB_lod0/weight" in own else f"{at}/ToRGB"
            if f"{head}/weight" in own:
                _styled(own, tensors, head, f"{part}.torgb")
            if f"{at}/Skip/weight" in own:
                tensors[f"{part}.skip"] = kernel(own[f"{at}/Skip/weight"])
        lr = _mapping(own, options, tensors)
        if "LabelEmbed/weight" in own:
            tensors["mapping.embed.weight"], tensors["mapping.embed.bias"] = (
                own["LabelEmbed/weight"].transpose(0, 1),
                own["LabelEmbed/bias"],
            )
        clamp = limit(options.get("conv_clamp"), "conv_clamp")
        return stylegan2.Config.of(tensors, lr, clamp), tensors, []


def _styled(
    own: Mapping[str, Tensor], tensors: dict[str, Tensor], theirs: str, ours: str, turned: bool = False
) -> None:
    tensors[f"{ours}.weight"] = kernel(own[f"{theirs}/weight"], turned)
    tensors[f"{ours}.bias"] = own[f"{theirs}/bias"]
    tensors[f"{ours}.affine.weight"] = own[f"{theirs}/mod_weight"].transpose(0, 1)
    tensors[f"{ours}.affine.bias"] = own[f"{theirs}/mod_bias"] + 1
