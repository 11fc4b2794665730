"""Checkpoints as their writers' codes name things, of our own random nets: tensors by their names, and files of them."""

import pickle

import numpy as np
import torch
from torch import nn

from foreign.lookalikes import saved, stranger
from steerable.foreign import Object, Tree
from steerable.generators.stylegan3 import bands

FILTER = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64


def weights(g):
    """Our own names and tensors."""
    return {key: tensor.detach().contiguous().clone() for key, tensor in g.net.state_dict().items()}


def blocks(g):
    return [height for height, _ in g.net.config.sizes]


# -- NVIDIA's PyTorch code ---------------------------------------------------------------------------------------------------------------


def nvidia2(g, first=4):
    """StyleGAN2-ADA's names. Blocks are called by size, from `first` on."""
    found, heights = {}, blocks(g)
    for key, tensor in weights(g).items():
        head, _, rest = key.partition(".")
        if head == "mapping":
            name = "mapping." + rest.replace("layers.", "fc") if "layers" in rest else key
        elif head == "w_avg":
            name = "mapping.w_avg"
        elif head == "const":
            name = f"synthesis.b{first}.const"
        else:
            rest = rest.replace("strength", "noise_strength") if rest.endswith("strength") else rest
            rest = rest[: -len("noise")] + "noise_const" if rest.endswith(".noise") else rest
            rest = "skip.weight" if rest == "skip" else rest
            name = f"synthesis.b{first << heights.index(int(head[1:]))}.{rest}"
        found[name] = tensor
    for b in range(len(heights)):
        found[f"synthesis.b{first << b}.resample_filter"] = FILTER.clone()
        found[f"synthesis.b{first << b}.conv1.resample_filter"] = FILTER.clone()
    return found


def nvidia2_arguments(g):
    """What the constructor was given, and attributes by the path of their module."""
    c = g.net.config
    arguments = {
        "z_dim": c.z_dim,
        "c_dim": c.c_dim,
        "w_dim": c.w_dim,
        "img_resolution": c.sizes[-1][0],
        "img_channels": c.colors,
        "mapping_kwargs": {"num_layers": c.depth, "lr_multiplier": c.mapping_lr},
        "synthesis_kwargs": {"architecture": c.architecture, "conv_clamp": c.clamp, "num_fp16_res": 2},
    }
    last = f"synthesis.b{c.sizes[-1][0]}.conv1"
    attributes = {
        "mapping.fc0": {"bias_gain": c.mapping_lr, "activation": "lrelu"},
        last: {"conv_clamp": c.clamp, "activation": "lrelu"},
        "synthesis": {"num_fp16_res": 2},
    }
    return arguments, attributes


def critic_state(critic):
    return {
        key.replace("mapping.layers.", "mapping.fc"): tensor.detach().clone()
        for key, tensor in critic.state_dict().items()
    } | {"b8.conv1.resample_filter": FILTER.clone()}


def nvidia_pickle(parts, protocol=4, source="raise SystemExit('the source was run')", half=False, bare=False):
    """A snapshot: modules that pickle themselves with their source text, constructor arguments and attributes.

    parts: name -> (state, arguments, attributes by path)
    """

    def rebuild(meta):
        raise SystemExit("it was rebuilt")

    class Easy(dict):
        pass

    class Persistent(nn.Module):
        def __reduce__(self):
            meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Generator"}
            return rebuild, (meta | {"state": dict(self.__dict__)},)

    def built(state, arguments, attributes, path=""):
        made = Persistent()
        made._init_args, made._init_kwargs = (), Easy(arguments if not path else {})
        made.__dict__.update(attributes.get(path, {}))
        for name in dict.fromkeys(key.partition(".")[0] for key in state):
            inner = {key[len(name) + 1 :]: t for key, t in state.items() if key.startswith(f"{name}.")}
            if inner:
                made.add_module(name, built(inner, arguments, attributes, f"{path}.{name}" if path else name))
            elif name.endswith(("_avg", "_const", "filter", "freqs", "phases", "transform", "_ema")):
                made.register_buffer(name, state[name].half() if half else state[name])
            else:
                made.register_parameter(name, nn.Parameter(state[name].half() if half else state[name]))
        return made

    with (
        stranger("torch_utils.persistence", _reconstruct_persistent_obj=rebuild),
        stranger("dnnlib.util", EasyDict=Easy),
    ):
        modules = {name: built(*part) for name, part in parts.items()}
        if bare:
            return pickle.dumps(next(iter(modules.values())), protocol=protocol)
        more = {"training_set_kwargs": Easy(path="x"), "augment_pipe": None}
        return pickle.dumps(modules | more, protocol=protocol)


def nvidia3(g):
    """StyleGAN3's names, and what the constructor was given."""
    c, found = g.net.config, {}
    names = {
        f"L{i}" if i < c.num_layers else "torgb": f"synthesis.L{i}_{b.size}_{b.channels}"
        for i, b in enumerate(bands(c))
    }
    for key, tensor in weights(g).items():
        head, _, rest = key.partition(".")
        rest = rest.replace("magnitude", "magnitude_ema")
        if head == "mapping":
            name = f"mapping.{rest.replace('layers.', 'fc')}"
        else:
            name = (
                "mapping.w_avg"
                if head == "w_avg"
                else f"synthesis.input.{rest}"
                if head == "input"
                else f"{names[head]}.{rest}"
            )
        found[name] = tensor
    options = {
        **{
            key: getattr(c, key)
            for key in ("z_dim", "w_dim", "c_dim", "channel_base", "channel_max", "num_layers", "num_critical")
        },
        **{
            key: getattr(c, key)
            for key in ("first_cutoff", "first_stopband", "last_stopband_rel", "output_scale", "conv_kernel")
        },
        **{
            "img_resolution": c.resolution,
            "img_channels": c.colors,
            "margin_size": c.margin,
            "use_radial_filters": c.radial,
        },
        **{
            "conv_clamp": c.clamp,
            "num_fp16_res": 4,
            "mapping_kwargs": {"num_layers": c.depth},
            "magnitude_ema_beta": 0.999,
        },
    }
    return found, options


# -- NVIDIA's TensorFlow code ------------------------------------------------------------------------------------------------------------


def kernel(tensor, turned=False):
    """[o i h w] to [h w i o]."""
    return (tensor.flip(2, 3) if turned else tensor).permute(2, 3, 1, 0).contiguous()


def tensorflow2(g, head="ToRGB", joined="LabelConcat"):
    """StyleGAN2's variables. Heads of growing nets are called ToRGB_lod0."""
    found, heights = {"lod": torch.zeros(()), "synthesis/lod": torch.zeros(())}, blocks(g)
    for key, tensor in weights(g).items():
        top, _, rest = key.partition(".")
        if top == "w_avg":
            found["dlatent_avg"] = tensor
        elif top == "const":
            found["synthesis/4x4/Const/const"] = tensor[None]
        elif rest == "embed":
            found["mapping/LabelConcat/weight"] = tensor
        elif rest.startswith("embed."):
            leaf = rest.partition(".")[2]
            found[f"mapping/LabelEmbed/{leaf}"] = tensor.T.contiguous() if leaf == "weight" else tensor
        elif top == "mapping":
            _, i, leaf = rest.split(".")
            found[f"mapping/Dense{i}/{leaf}"] = tensor.T.contiguous() if leaf == "weight" else tensor
        else:
            b = heights.index(int(top[1:]))
            size = f"synthesis/{4 << b}x{4 << b}"
            if rest == "skip":
                found[f"{size}/Skip/weight"] = kernel(tensor)
                continue
            part, leaf = rest.split(".", 1)
            theirs = {"conv0": "Conv0_up", "conv1": "Conv1" if b else "Conv", "torgb": head}[part]
            at = f"synthesis/{head}" if part == "torgb" and head != "ToRGB" else f"{size}/{theirs}"
            match leaf:
                case "weight":
                    found[f"{at}/weight"] = kernel(tensor, part == "conv0")
                case "affine.weight":
                    found[f"{at}/mod_weight"] = tensor.T.contiguous()
                case "affine.bias":
                    found[f"{at}/mod_bias"] = tensor - 1
                case "strength":
                    found[f"{at}/noise_strength"] = tensor
                case "noise":
                    found[f"synthesis/noise{2 * b - (part == 'conv0')}"] = tensor[None, None]
                case _:
                    found[f"{at}/{leaf}"] = tensor
    return found


def tensorflow_pickle(networks, static=None, protocol=4, module="dnnlib.tflib.network", source="raise SystemExit"):
    """A tuple of networks (None among them), whose variables behind "synthesis/" and "mapping/" are those of components."""

    class Network:
        def __init__(self, name, state):
            self.content = name, state

        def __getstate__(self):
            name, state = self.content
            parts = {head: {} for head in ("synthesis", "mapping")}
            own = {}
            for key, tensor in state.items():
                head, slash, rest = key.partition("/")
                (parts[head] if slash and head in parts else own)[rest if slash and head in parts else key] = tensor
            return {
                "version": 4,
                "name": name,
                "static_kwargs": dict(static or {}),
                "components": {head: Network(f"G_{head}", inner) for head, inner in parts.items() if inner},
                "build_module_src": source,
                "build_func_name": "G_main",
                "variables": [(key, np.asarray(tensor)) for key, tensor in own.items()],
            }

    with stranger(module, Network=Network):
        made = tuple(None if state is None else Network(f"n{i}", state) for i, state in enumerate(networks))
        return pickle.dumps(made if len(made) > 1 else made[0], protocol=protocol)


def progan_tf(g, fused):
    """The variables of ProGAN's code."""
    found = {"lod": torch.zeros(())}
    for key, tensor in weights(g).items():
        block, _, rest = key.partition(".")
        size = f"{block[1:]}x{block[1:]}"
        if block == "torgb":
            name, tensor = f"ToRGB_lod0/{rest}", kernel(tensor) if tensor.ndim == 4 else tensor
        elif rest == "dense.weight":
            name, tensor = "4x4/Dense/weight", tensor.transpose(0, 1).flatten(1)
        elif rest.startswith("conv0"):
            name = f"{size}/Conv0{'_up' if fused else ''}/{rest.partition('.')[2]}"
            if tensor.ndim == 4:
                tensor = tensor.flip(2, 3).permute(2, 3, 0, 1) if fused else kernel(tensor)
        else:
            name = f"{size}/{rest.replace('.', '/').capitalize()}"
            tensor = kernel(tensor) if tensor.ndim == 4 else tensor
        found[name] = tensor.contiguous()
    # Heads of smaller sizes are there too.
    return found | {"ToRGB_lod1/weight": torch.zeros(1, 1, 7, 3), "ToRGB_lod1/bias": torch.zeros(3)}


TF = {"affine": "StyleMod", "strength": "Noise/weight", "const": "const", "bias": "bias", "conv": "weight"}
GENFORCE = {"affine": "style", "strength": "apply_noise.weight", "const": "const", "bias": "bias", "conv": "weight"}
HAMMER = GENFORCE | {"strength": "noise_strength"}


def stylegan1(g, fused, style):
    """StyleGAN's tensors as the authors' TensorFlow code names them ("tensorflow"), or as genforce's or Hammer's does."""
    tf = style == "tensorflow"
    leaves = {"tensorflow": TF, "genforce": GENFORCE, "hammer": HAMMER}[style]
    found = {"lod": torch.zeros(()), "synthesis/lod": torch.zeros(())} if tf else {"synthesis.lod": torch.zeros(())}
    last = len(g.net.config.widths) - 1
    for key, tensor in weights(g).items():
        head, *rest = key.split(".")
        if key == "mapping.embed":
            name = (
                "mapping/LabelConcat/weight"
                if tf
                else f"mapping.{'label_weight' if style == 'genforce' else 'embedding'}"
            )
        elif head == "mapping":
            name = f"mapping/Dense{rest[1]}/{rest[2]}" if tf else f"mapping.dense{rest[1]}.{rest[2]}"
            tensor = tensor.T if tf and rest[2] == "weight" else tensor
        elif head == "w_avg":
            name = {"tensorflow": "dlatent_avg", "genforce": "truncation.w_avg", "hammer": "w_avg"}[style]
        elif head == "torgb":
            name = f"synthesis/ToRGB_lod0/{rest[0]}" if tf else f"synthesis.output{last}.{rest[0]}"
        else:
            b, part, leaf = int(head[1:]).bit_length() - 3, rest[0], rest[1]
            j = 2 * b + part.endswith(("conv1", "conv"))
            theirs = {"conv0": "Conv0_up"}.get(part, part.capitalize())
            if leaf == "noise":
                tensor = tensor[None, None]
                within = "apply_noise.noise" if style == "genforce" else "noise"
                name = f"synthesis/noise{j}" if tf else f"synthesis.layer{j}.{within}"
            else:
                end = leaves[leaf] + (f"{'/' if tf else '.'}{rest[2]}" if leaf == "affine" else "")
                name = f"synthesis/{head[1:]}x{head[1:]}/{theirs}/{end}" if tf else f"synthesis.layer{j}.{end}"
            tensor = tensor[None] if leaf == "const" else tensor
            tensor = tensor[None, :, None, None] if leaf == "strength" and style == "hammer" else tensor
            tensor = tensor.flip(2, 3) if fused and part == "conv0" and rest[1] == "conv" else tensor
            tensor = tensor.T if tf and rest[1:] == ["affine", "weight"] else tensor
        if tf and tensor.ndim == 4 and name.endswith("weight"):
            tensor = tensor.permute(2, 3, 1, 0)
        found[name] = tensor.contiguous()
    if not tf:
        found |= {f"synthesis.output{b}.weight": torch.zeros(3, 5, 1, 1) for b in range(last)}
        found["synthesis.layer2.blur.kernel"] = torch.zeros(7, 1, 3, 3)
    return found


# -- other people's PyTorch codes --------------------------------------------------------------------------------------------------------


def chained(g, names):
    """StyleGAN2's tensors in the two codes that list convolutions one after another; `names` are theirs of every part."""
    found, own = {}, weights(g)
    found[names["const"]] = own["const"][None]
    for i in range(g.net.config.depth):
        found[names["dense"].format(i + 1)] = own[f"mapping.layers.{i}.weight"]
        found[names["dense bias"].format(i + 1)] = own[f"mapping.layers.{i}.bias"]
    for i in range(2 * len(blocks(g)) - 1):
        b = (i + 1) // 2
        theirs, ours = f"convs.{i - 1}" if i else "conv1", f"b{blocks(g)[b]}.{'conv0' if i % 2 else 'conv1'}"
        both = [(f"{theirs}.conv", ours)]
        found[f"{theirs}.activate.bias"] = own[f"{ours}.bias"]
        found[f"{theirs}.{names['strength']}"] = own[f"{ours}.strength"].reshape(1)
        found[names["noise"].format(i)] = own[f"{ours}.noise"][None, None]
        if i % 2:
            found[f"{theirs}.conv.blur.kernel"] = 4 * FILTER
        else:
            head, part = f"to_rgbs.{b - 1}" if i else "to_rgb1", f"b{blocks(g)[b]}.torgb"
            both.append((f"{head}.conv", part))
            found[f"{head}.bias"] = own[f"{part}.bias"][None, :, None, None]
        for there, here in both:
            found[f"{there}.{names['weight']}"] = own[f"{here}.weight"][None]
            found[f"{there}.{names['style']}"] = own[f"{here}.affine.weight"]
            found[f"{there}.{names['style bias']}"] = own[f"{here}.affine.bias"]
    return found


ROSINALITY = {
    "const": "input.input",
    "dense": "style.{}.weight",
    "dense bias": "style.{}.bias",
    "strength": "noise.weight",
    "noise": "noises.noise_{}",
    "weight": "weight",
    "style": "modulation.weight",
    "style bias": "modulation.bias",
}
MMGENERATION = {
    "const": "constant_input.input",
    "dense": "style_mapping.{}.linear.weight_orig",
    "dense bias": "style_mapping.{}.bias",
    "strength": "noise_injector.weight",
    "noise": "injected_noise_{}",
    "weight": "weight_orig",
    "style": "style_modulation.linear.weight_orig",
    "style bias": "style_modulation.bias",
}


def genforce2(g, hammer=False):
    """StyleGAN2 of genforce, or of Hammer, which keeps kernels and styles as NVIDIA's PyTorch code does."""
    found, heights = {}, blocks(g)
    for key, tensor in weights(g).items():
        top, _, rest = key.partition(".")
        if top == "w_avg":
            found["w_avg" if hammer else "truncation.w_avg"] = tensor
        elif top == "const":
            found["synthesis.early_layer.const"] = tensor[None]
        elif rest == "embed":
            found["mapping.label_weight"] = tensor
        elif rest.startswith("embed."):
            found[f"mapping.{'embedding' if hammer else 'LabelEmbed'}.{rest.partition('.')[2]}"] = tensor
        elif top == "mapping":
            _, i, leaf = rest.split(".")
            found[f"mapping.dense{i}.{leaf}"] = tensor
        else:
            b = heights.index(int(top[1:]))
            if rest == "skip":
                found[f"synthesis.residual{b}.weight"] = tensor
                continue
            part, leaf = rest.split(".", 1)
            at = f"synthesis.output{b}" if part == "torgb" else f"synthesis.layer{2 * b - (part == 'conv0')}"
            if leaf == "weight" and part == "conv0" and not hammer:
                tensor = tensor.flip(2, 3)
            if leaf == "affine.bias" and not hammer:
                tensor = tensor - 1
            leaf = leaf.replace("affine", "style").replace("strength", "noise_strength")
            found[f"{at}.{leaf}"] = tensor[None, None] if leaf == "noise" else tensor
    return found | {"synthesis.layer1.filter.kernel": FILTER[None, None]}


def progan_genforce(g, fused):
    found = {"lod": torch.zeros(())}
    for key, tensor in weights(g).items():
        part, leaf = key.rsplit(".", 1)
        b = len(g.net.config.widths) - 1 if part == "torgb" else int(part[1 : part.index(".")]).bit_length() - 3
        j = 2 * b + (part.endswith(("conv1", "conv")))
        if leaf == "weight" and part.endswith("dense"):
            tensor = tensor.flip(2, 3)
        elif leaf == "weight" and part.endswith("conv0") and fused:
            tensor = tensor.flip(2, 3).transpose(0, 1)
        found[f"output{b}.{leaf}" if part == "torgb" else f"layer{j}.{leaf}"] = tensor.contiguous()
    heads = {f"output{b}.weight": torch.zeros(3, 5, 1, 1) for b in range(len(g.net.config.widths) - 1)}
    return heads | found


def torch_file(value, **options):
    return saved(value, **options)


# -- as if they had been read ------------------------------------------------------------------------------------------------------------


def read(state, static=None):
    """What a file of these tensors is read as; with `static`, that of a TensorFlow network."""
    if static is None:
        return Tree(dict(state), "torch-zip")
    parts = {"variables": list(state.items()), "static_kwargs": static, "components": {}, "name": "Gs"}
    return Tree(Object("dnnlib.tflib.network", "Network", state=parts), "pickle")
