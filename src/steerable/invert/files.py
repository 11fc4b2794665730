"""Codes of photographs in the files of other projects: read as data, written as they expect them.

    nvidia       projected_w.npz, `w` [n l d]                               StyleGAN2-ADA, StyleGAN3 (`generate.py --projected-w`)
    nvidia-tf    dlatents.npz, `dlatents` [n l d]                           StyleGAN2
    rosinality   .pt, name → {img, latent [d] or [l d], noise [1 1 h w] …}  stylegan2-pytorch's projector
    e4e          .pt, a tensor [n l d]                                      e4e, pSp, StyleCLIP, PTI and DragGAN (n = 1)
    genforce     .npy [n l d]                                               IDInvert's inverted_codes.npy, stylegan3-fun
    puzer        .npy [l d]                                                 Puzer, pbaylies
    barbershop   .npz, `latent_in` [n l d], `latent_F` [n c h w]            FS codes of Barbershop

ReStyle's and HyperStyle's latents.npy (name → code of each step) are read too, the last step counting.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .. import foreign
from ..artifact import replacing
from ..edit import FeatureEdit, Inversion, LatentEdit
from ..errors import ArtifactError, MismatchError, SettingError, SpaceError, UnknownName
from ..generator import Generator
from ..layer import State
from ..render import codes, render
from ..space import Latents

TILED = 1e-5  # rows of w+ that differ by less are one w


@dataclass(frozen=True)
class Held(FeatureEdit):
    """What comes out of a layer is replaced: `x` are its features; what the image heads drew so far is dropped.

    It is the F of Barbershop's FS space (Zhu et al., 2021): styles act from the next layer on, image heads from the next size on.
    """

    layers: str
    x: Float[Tensor, "n c h w"]

    def features(self, state: State, latents: Latents, again: Callable[..., State]) -> tuple[State, Latents]:
        if state.x.shape[1:] != self.x.shape[1:] or len(self.x) not in (1, len(state.x)):
            have, want = tuple(self.x.shape), tuple(state.x.shape)
            raise SpaceError(f"features of layer {self.layers!r} have the shape {want}; these have {have}")
        rgb = None if state.rgb is None else torch.zeros_like(state.rgb)
        return State(self.x.to(state.x).expand_as(state.x), rgb), latents


@dataclass(frozen=True)
class _Held:
    """What a file holds, before it is fitted to a generator."""

    layout: str
    codes: Tensor  # [n d] or [n l d]
    space: str | None = None  # of [n d]: None where the file does not say
    noise: tuple[tuple[Tensor, ...], ...] = ()  # for each sample
    features: Tensor | None = None
    names: tuple[str, ...] = field(default=())


# -- reading ------------------------------------------------------------------------------------------------------------------------


def read_codes(file: str | Path, *, generator: Generator, space: str | None = None, loose: bool = False) -> Inversion:
    """The codes of a file of any layout above, with noise and features where it has them; nothing in it is executed.

    `space` says whether single vectors are z or w, where the file does not. Rows of w+ that are all the same become one w. With `loose`,
    what does not fit the generator is left out: rows too many (or the last is repeated), noise maps of other sizes. Raises
    ArtifactError for what is no file of codes, SpaceError and MismatchError for what does not fit, SettingError for what must be said.
    """
    file = Path(file)
    held = recognized(foreign.read(file).value, file.name)
    latents = placed(held, file.name, generator, space, loose)
    if held.noise:
        latents = replace(latents, inputs=_noise(held, generator, file.name, loose))
    edits = (_feature(held.features, generator, file.name),) if held.features is not None else ()
    notes = {"file": file.name, "layout": held.layout, "names": "\n".join(held.names) or None}
    return Inversion(latents, edits, {k: v for k, v in notes.items() if v is not None})


def recognized(value: Any, name: str) -> _Held:
    """The layout, told by keys and shapes. Raises ArtifactError."""
    match value:
        case Mapping() if {"latent_in", "latent_F"} <= value.keys():
            return _Held("barbershop", _tensor(value["latent_in"], name), features=_tensor(value["latent_F"], name))
        case Mapping() if "dlatents" in value:
            return _Held("nvidia-tf", _tensor(value["dlatents"], name))
        case Mapping() if "w" in value and _is_array(value["w"]):
            return _Held("nvidia", _tensor(value["w"], name), "w")
        case Mapping() if "latent" in value and _is_array(value["latent"]):
            return _projected({name: value}, name)
        case Mapping() if value and all(isinstance(v, Mapping) and "latent" in v for v in value.values()):
            return _projected(value, name)
        case Mapping() if value and all(
            isinstance(v, Sequence) and len(v) for v in value.values()
        ):  # ReStyle: each step's
            last = torch.stack([_tensor(v[-1], name) for v in value.values()])
            return _Held("restyle", last, "w", names=tuple(map(str, value)))
        case Mapping() if len(value) == 1 and _is_array(next(iter(value.values()))):  # np.savez(file, codes)
            return _Held("e4e", _tensor(next(iter(value.values())), name))
        case Tensor():
            return _Held("e4e", _tensor(value, name))
        case np.ndarray():
            return _Held("genforce" if value.ndim == 3 else "puzer", _tensor(value, name))
    held = f"keys {', '.join(map(repr, list(value)[:5]))}" if isinstance(value, Mapping) else type(value).__name__
    raise ArtifactError(
        f"{name} holds no codes in a layout that is known ({held[:120]}); docs/guides/photos.md lists the layouts"
    )


def _projected(entries: Mapping[Any, Mapping[str, Any]], name: str) -> _Held:
    """rosinality's, one entry for each picture; mmgeneration's (`injected_noise`) is one such entry."""
    rows = [_tensor(e["latent"], name) for e in entries.values()]
    if len({tuple(r.shape) for r in rows}) > 1:
        raise ArtifactError(
            f"{name} mixes codes of different shapes: {', '.join(sorted({str(tuple(r.shape)) for r in rows}))}"
        )
    noise = tuple(
        tuple(_tensor(m, name) for m in e.get("noise") or e.get("injected_noise") or ()) for e in entries.values()
    )
    rows = [r[0] if r.ndim > 1 and len(r) == 1 else r for r in rows]
    return _Held("rosinality", torch.stack(rows), "w", noise if all(noise) else (), names=tuple(map(str, entries)))


def placed(held: _Held, name: str, generator: Generator, space: str | None, loose: bool) -> Latents:
    """The codes in a space of the generator."""
    known = {s.name: tuple(s.shape) for s in generator.spaces}
    values, rows = held.codes, known.get("w+")
    if values.ndim == 2 and rows and tuple(values.shape) == rows and tuple(values.shape[1:]) == known.get("w"):
        values = values[None]  # one code of w+, not l codes of w
    if values.ndim == 1:
        values = values[None]
    if values.ndim == 3 and rows is not None and values.shape[2] == rows[1]:
        if float((values - values[:, :1]).abs().max()) < TILED:
            return _latents(values[:, 0], "w", generator)
        return _latents(_rows(values, rows[0], name, generator, loose), "w+", generator)
    if values.ndim == 3 and values.shape[1] == 1:
        values = values[:, 0]
    wanted = space or held.space
    if wanted is None and values.ndim == 2:
        options = [s for s, shape in known.items() if shape == tuple(values.shape[1:])]
        if len(options) > 1:
            raise SettingError(
                f"{name} does not say in which space its codes lie: pass space= {' or '.join(map(repr, options))}"
            )
        wanted = options[0] if options else None
    if wanted is None or tuple(values.shape[1:]) != known.get(wanted):
        listed = ", ".join(f"{k} {v}" for k, v in known.items())
        raise SpaceError(f"{name} holds codes {tuple(held.codes.shape)}; {generator.name} has {listed}")
    return _latents(values, wanted, generator)


def _rows(values: Tensor, count: int, name: str, generator: Generator, loose: bool) -> Tensor:
    have = values.shape[1]
    if have != count and not loose:
        raise SpaceError(
            f"{name} has {have} rows of w+, {generator.name} has {count}: it was made with another net; "
            "loose=True cuts or repeats the last rows"
        )
    more = values[:, -1:].expand(-1, max(count - have, 0), -1)
    return torch.cat([values[:, :count], more], 1)


def _latents(values: Tensor, space: str, generator: Generator) -> Latents:
    return Latents(values.to(generator.device, generator.dtype).contiguous(), generator.space(space))


def _noise(held: _Held, generator: Generator, name: str, loose: bool) -> dict[str, Tensor]:
    """The maps as inputs, in the order of the layers."""
    wanted = {k: shape for k, shape in generator.inputs.items() if k.startswith("noise.")}
    counts = {len(maps) for maps in held.noise}
    fits = counts == {len(wanted)} and all(
        tuple(m.shape[-2:]) == tuple(shape[-2:]) and m.numel() == m.shape[-2] * m.shape[-1]
        for maps in held.noise
        for m, shape in zip(maps, wanted.values(), strict=True)
    )
    if not fits and loose:
        return {}
    if not fits:
        raise MismatchError(
            f"{name} has {max(counts)} noise maps that do not fit the {len(wanted)} of {generator.name}; loose=True leaves them out"
        )
    to = lambda m, shape: m.reshape(1, *shape).to(generator.device, generator.dtype)
    return {
        key: torch.cat([to(maps[i], shape) for maps in held.noise]) for i, (key, shape) in enumerate(wanted.items())
    }


def _feature(x: Tensor, generator: Generator, name: str) -> Held:
    """F, at the last layer of its size."""
    layers = [layer for layer in generator.layers if tuple(layer.size) == tuple(x.shape[-2:])]
    wide = [layer.channels for layer in layers if not layer.head]
    if x.ndim != 4 or not layers or wide[-1] != x.shape[1]:
        sizes = ", ".join(
            sorted({f"{la.channels}x{la.size[0]}x{la.size[1]}" for la in generator.layers if not la.head})
        )
        raise MismatchError(f"{name} has features {tuple(x.shape)}; {generator.name} has {sizes}")
    return Held(layers[-1].name, x.to(generator.device, generator.dtype))


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _tensor(value: Any, name: str) -> Tensor:
    found = torch.as_tensor(np.asarray(value) if not isinstance(value, Tensor) else value)
    if not found.is_floating_point() or not found.numel() or not torch.isfinite(found).all():
        raise ArtifactError(f"{name}: the numbers are not finite floating-point numbers, so they are no codes")
    return found.float().clone()  # of its own: the file's bytes need not stay in memory


# -- writing ------------------------------------------------------------------------------------------------------------------------


def write_codes(
    base: Latents | Inversion, file: str | Path, *, generator: Generator, layout: str | None = None, loose: bool = False
) -> Path:
    """Write codes as another project expects them. Without `layout`, that of the suffix: .npz nvidia, .pt e4e, .npy genforce.

    Codes are lifted to w+, edits of codes are applied. What a layout cannot hold (edits of weights, noise maps but in rosinality's,
    features but in Barbershop's) is refused, or left out with `loose`. The file appears whole or not at all.
    Raises SettingError, UnknownName, SpaceError for codes past w+, ArtifactError where it cannot be written.
    """
    file = Path(file)
    chosen = layout or {".npz": "nvidia", ".pt": "e4e", ".npy": "genforce"}.get(file.suffix.lower())
    if chosen not in LAYOUTS:
        raise UnknownName("layout of codes", chosen or file.name, LAYOUTS)
    suffix, keeps, make = LAYOUTS[chosen]
    if file.suffix.lower() != suffix:
        raise SettingError(f"{chosen} codes are written as {suffix}; got {file.name}")
    own = base.edits if isinstance(base, Inversion) else ()
    latents = generator.lift(codes(generator, base), "w+")
    left = [
        type(e).__name__
        for e in own
        if not isinstance(e, LatentEdit) and not (isinstance(e, Held) and keeps == "features")
    ]
    left += ["noise maps"] if keeps != "noise" and any(k.startswith("noise.") for k in latents.inputs) else []
    if left and not loose:
        raise SettingError(
            f"the {chosen} layout cannot hold {', '.join(left)}, so its picture would differ; loose=True leaves that out"
        )
    value = make(latents, base, generator)
    with replacing(file) as part, part.open("wb") as stream:
        if suffix == ".npz":
            np.savez(stream, **value)
        elif suffix == ".npy":
            np.save(stream, value, allow_pickle=False)
        else:
            torch.save(value, stream)
    return file


def _array(latents: Latents) -> np.ndarray:
    return latents.values.detach().float().cpu().numpy()


def _one(latents: Latents) -> np.ndarray:
    if len(latents) != 1:
        raise SettingError(f"a file of this layout holds one code; got {len(latents)}: write one file for each")
    return _array(latents)[0]


def _entries(latents: Latents, base: Latents | Inversion, generator: Generator) -> dict[str, dict[str, Any]]:
    """As rosinality's projector writes them; `noise` only where the codes have maps of their own."""
    keys = [k for k in generator.inputs if k.startswith("noise.") and k in latents.inputs]
    pictures = render(generator, base).float().cpu()
    names = str(base.notes.get("names") or "").split("\n") if isinstance(base, Inversion) else []
    names = names if len(names) == len(latents) and all(names) else [f"{i:04d}.png" for i in range(len(latents))]
    made = {}
    for i, name in enumerate(names):
        made[name] = {"img": pictures[i].clone(), "latent": latents.values[i].detach().float().cpu().clone()}
        if keys:
            made[name]["noise"] = [latents.inputs[k][i][None].detach().float().cpu().clone() for k in keys]
    return made


def _fs(latents: Latents, base: Latents | Inversion, generator: Generator) -> dict[str, np.ndarray]:
    held = [e for e in base.edits if isinstance(e, Held)] if isinstance(base, Inversion) else []
    if len(held) != 1:
        raise SettingError("a Barbershop file holds features of one layer; read one, or edit with one `Held`")
    return {"latent_in": _array(latents), "latent_F": held[0].x.detach().float().cpu().numpy()}


Made = Callable[[Latents, Latents | Inversion, Generator], Any]
LAYOUTS: dict[str, tuple[str, str, Made]] = {  # name → suffix, what it keeps beside codes, its content
    "nvidia": (".npz", "", lambda latents, base, g: {"w": _array(latents)}),
    "nvidia-tf": (".npz", "", lambda latents, base, g: {"dlatents": _array(latents)}),
    "rosinality": (".pt", "noise", _entries),
    "e4e": (".pt", "", lambda latents, base, g: torch.from_numpy(_array(latents))),
    "genforce": (".npy", "", lambda latents, base, g: _array(latents)),
    "puzer": (".npy", "", lambda latents, base, g: _one(latents)),
    "barbershop": (".npz", "features", _fs),
}
