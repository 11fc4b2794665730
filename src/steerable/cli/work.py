"""The commands that make pictures and paths."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import steerable as st

from ..artifact import header, replacing
from ..discover.presets import preset
from ..edit import Edit, Inversion
from ..errors import SettingError, UnknownName
from ..generator import Generator
from ..images import MOVING, film, there_and_back
from ..nn.allocator import tune
from ..path import Paths
from ..photo import CROPS
from ..renderer import fitted
from ..sheet import drawn, page, strips
from . import report


def opened(generator: str, device: str) -> Generator:
    tune()
    return st.load(generator, device=device, progress=report.Bars())


def numbers(text: str) -> list[int]:
    """Seeds: "0-3,85"."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise SettingError(f"seeds are written as 0-7 or 3,85,100-102; got {text!r}")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


def strengths(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingError(f"strengths are written as -3,-1.5,0,1.5,3; got {text!r}") from None


def truncation(generator: Generator, psi: float | None) -> list[Edit]:
    """The truncation asked for; 0.7 where nothing was said and there is a w."""
    has_w = any(s.name == "w" for s in generator.spaces)
    if psi is None:
        return [st.Truncate(0.7)] if has_w else []
    return [] if psi == 1 else [st.Truncate(psi)]


def checked_crop(crop: str) -> None:
    """Raises UnknownName before any work is begun."""
    if crop not in CROPS:
        raise UnknownName("crop", crop, CROPS)


def sample(
    generator: str,
    seeds: str,
    psi: float | None,
    out: Path | None,
    outdir: Path | None,
    label: int | None,
    noise: str,
    json: bool,
    device: str,
) -> None:
    wanted = numbers(seeds)
    g = opened(generator, device)
    edits = truncation(g, psi)
    if label is not None:
        if "label" not in g.inputs:
            raise SettingError(f"{g.name} has no classes; leave --class out")
        (classes,) = g.inputs["label"]
        if not 0 <= label < classes:
            raise SettingError(f"{g.name} has the classes 0-{classes - 1}; got {label}")
        edits.append(st.SetInput("label", torch.nn.functional.one_hot(torch.tensor([label]), classes).to(g.dtype)))
    if noise != "const":
        edits.append(st.Noise(noise))
    made, pictures = [], []
    if outdir is not None:
        outdir.mkdir(parents=True, exist_ok=True)
    for seed in report.Bars().over(wanted, "pictures"):
        picture = st.render(g, g.sample(seeds=[seed]), edits)
        if outdir is not None:
            made.append(st.write(picture, outdir / f"seed{seed:04d}.png"))
        else:
            pictures.append(picture)
    if outdir is None:
        made.append(st.write(torch.cat(pictures), out or Path(f"{g.name}.png")))
    report.facts(
        {"generator": g.name, "seeds": wanted, "size": f"{g.size[1]}x{g.size[0]}", "files": [str(f) for f in made]},
        json,
    )


def discover(
    method: Any,
    generator: str,
    settings: dict[str, Any],
    suited: bool,
    scores: str | None,
    out: Path | None,
    json: bool,
    device: str,
) -> None:
    chosen = method(**settings)  # what is wrong with them is said before a net is opened
    g = opened(generator, device)
    if suited:
        chosen = method(**{**preset(method.name, g), **settings})
    supervision = st.score(scores) if scores else None
    paths = chosen.discover(g, supervision=supervision, progress=report.Bars())
    file = st.save(paths, out or Path(f"{chosen.name}-{g.name}.safetensors"), generator=g, method=chosen)
    if not json:
        report.rows([_line(p) for p in paths], False)
    report.facts({"file": str(file), "paths": list(paths.names), "notes": {k: v for k, v in paths.notes.items()}}, json)


def _line(path: Any) -> dict[str, Any]:
    space = getattr(path, "space", None)
    return {
        "path": path.name,
        "space": space.name if space else None,
        "SD": getattr(path, "unit", None),
        "layers": path.layers,
        "about": path.about,
    }


def sheet(
    generator: str,
    file: Path,
    seeds: str,
    t: str,
    only: str | None,
    space: str | None,
    layers: str | None,
    psi: float | None,
    size: int,
    out: Path | None,
    json: bool,
    device: str,
) -> None:
    people, at = numbers(seeds), strengths(t)
    g = opened(generator, device)
    paths = chosen(bundle(st.read(file, generator=g, space=space)), only)
    if layers:
        paths = Paths(tuple(replace(p, layers=layers) for p in paths))
    rows = strips(g, g.sample(seeds=people), paths, at, edits=truncation(g, psi), size=size, progress=report.Bars())
    target = out or Path(f"{file.stem}.png")
    title = f"{g.name} · {file.name}"
    if target.suffix.lower() in (".html", ".htm"):
        with replacing(target) as part:
            part.write_text(page(rows, title), encoding="utf-8")
    else:
        st.write(drawn(rows, title), target)
    report.facts({"file": str(target), "paths": list(paths.names), "seeds": people, "t": at}, json)


def bundle(read: Any) -> Paths:
    if isinstance(read, Paths):
        return read
    if isinstance(read, st.Path):
        return Paths((read,))
    raise SettingError(f"the file holds {type(read).__name__}, not paths")


def chosen(paths: Paths, only: str | None) -> Paths:
    if not only:
        return paths
    return Paths(tuple(paths[int(w) if w.isdigit() else w] for w in (part.strip() for part in only.split(","))))


@dataclass(frozen=True)
class Move:
    """One edit that was asked for: along which path, how far, and on which layers (those of the path for None)."""

    path: Any
    t: float
    layers: str | None
    unit: str = "std"

    def at(self, share: float = 1.0) -> Edit:
        """So much of the way."""
        return self.path.at(self.t * share, self.layers, self.unit)

    def __str__(self) -> str:
        return f"{self.path.name}:{self.t:g}" + (f"@{self.layers}" if self.layers else "")


def edit(
    subject: str,
    moves: Sequence[str],
    files: Sequence[Path],
    seeds: str,
    psi: float | None,
    space: str | None,
    unit: str,
    size: int | None,
    frames: int,
    fps: float,
    out: Path | None,
    json: bool,
    device: str,
) -> None:
    base: Any
    if subject.endswith(".safetensors") and Path(subject).is_file():
        g = opened(generator_of(subject), device)
        base = inversion(subject, g)
        edits: list[Edit] = []
    else:
        g = opened(subject, device)
        base, edits = g.sample(seeds=numbers(seeds)), truncation(g, psi)
    moved = asked(moves, files, g, space, unit)
    shown = lambda share: [*edits, *(m.at(share) for m in moved)]
    target = out or Path("edit.png")
    if target.suffix.lower() in MOVING:
        shares = report.Bars().over(there_and_back(frames), "frames")
        film((fitted(st.render(g, base, shown(share)), size or 512)[0] for share in shares), target, fps=fps)
    else:
        pictures = torch.cat(list(report.Bars().over(st.stream(g, base, shown(1.0)), "pictures")))
        st.write(fitted(pictures, size) if size else pictures, target)
    report.facts({"file": str(target), "generator": g.name, "edits": [str(m) for m in moved]}, json)


def generator_of(file: str | Path) -> str:
    """The name of the generator that a file of ours was made with."""
    name = (header(file).get("generator") or {}).get("name")
    if not name:
        raise SettingError(f"{file} does not say which generator it was made with")
    return name


def inversion(file: str | Path, g: Generator) -> Inversion:
    found = st.read(file, generator=g)
    if not isinstance(found, Inversion):
        raise SettingError(f"{file} holds {type(found).__name__}; give an inversion, or a generator with --seeds")
    return found


def asked(moves: Sequence[str], files: Sequence[Path], g: Generator, space: str | None, unit: str) -> list[Move]:
    """The edits on the command line, of paths in these files."""
    known = [bundle(st.read(f, generator=g, space=space)) for f in files]
    return [_parsed(move, known, g, space, unit) for move in moves]


def _parsed(move: str, known: Sequence[Paths], g: Generator, space: str | None, unit: str) -> Move:
    """One edit: [FILE#]name:t[@layers]."""
    match = re.fullmatch(
        r"(?:(?P<file>[^#]+)#)?(?P<name>.+):(?P<t>[-+]?[\d.]+(?:e[-+]?\d+)?|[-+]?inf|nan)(?:@(?P<layers>[^@]+))?", move
    )
    if not match:
        raise SettingError(f"an edit is written as smile:2, age:-1@4-7 or faces.safetensors#smile:2; got {move!r}")
    bundles = [bundle(st.read(match["file"], generator=g, space=space))] if match["file"] else list(known)
    if not bundles:
        raise SettingError(f"{move!r} needs a file of paths: give --paths FILE, or write FILE#{move}")
    name = match["name"]
    for paths in bundles:
        if name in paths.names or (name.isdigit() and int(name) < len(paths)):
            path = paths[name] if name in paths.names else paths[int(name)]
            return Move(path, float(match["t"]), match["layers"], unit)
    raise UnknownName("path", name, [n for paths in bundles for n in paths.names])
