"""What there is, and what a thing is."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UnknownName
from . import report

KINDS = ("generators", "discover", "invert", "scores")


def show(what: str, tag: str | None, json: bool) -> None:
    if what not in (*KINDS, "all"):
        raise UnknownName("list", what, (*KINDS, "all"))
    found = {kind: _rows(kind, tag) for kind in (KINDS if what == "all" else (what,))}
    if json:
        report.facts(found, True) if what == "all" else report.rows(found[what], True)
        return
    for kind, rows in found.items():
        if rows:
            report.rows(rows, False, title=kind if what == "all" else "")


def _rows(kind: str, tag: str | None) -> list[dict[str, Any]]:
    match kind:
        case "generators":
            return generators()
        case "discover" | "invert":
            return [
                {"method": name, "tags": sorted(m.tags), "what": _first(m), "paper": m.paper}
                for name, m in _methods(kind).items()
                if tag is None or tag in m.tags
            ]
        case _:
            from ..score import SCORERS

            return [
                {"score": name, "columns": list(getattr(s, "names", ())), "what": _first(s)}
                for name, s in SCORERS.items()
            ]


def _methods(kind: str) -> Mapping[str, Any]:
    """By name; inverters with their presets."""
    from ..discover import DISCOVERERS
    from ..invert import KNOWN

    return DISCOVERERS if kind == "discover" else KNOWN


def generators() -> list[dict[str, Any]]:
    from .. import catalogue
    from ..generators import TINY, heads, load

    rows = [
        {
            "name": e.name,
            "family": e.family,
            "px": e.resolution,
            "spaces": " ".join(e.spaces),
            "MB": round(e.bytes / 1e6, 1),
            "cached": e.cached,
            "code licence": e.code_licence,
            "weights licence": e.weights_licence + (", research only" if e.research_only else ""),
        }
        for e in catalogue.entries("generator").values()
    ]
    for name in (*heads.VARIANTS, *TINY):
        g = load(name, device="cpu")
        spaces = " ".join(s.name for s in g.spaces)
        rows.append(
            {
                "name": name,
                "family": "tiny" if name in TINY else "heads",
                "px": g.resolution,
                "spaces": spaces,
                "MB": 0 if name in TINY else 1.1,
                "cached": True,
                "code licence": "Apache-2.0",
                "weights licence": "none needed (random)" if name in TINY else "Apache-2.0 (trained on CC0 renders)",
            }
        )
    return rows


def _first(thing: Any) -> str:
    """What it does: a preset has a line of its own, others the first paragraph of their documentation."""
    text = getattr(thing, "about", None) or thing.__doc__ or ""
    return " ".join(text.strip().split("\n\n")[0].split())


def describe(what: str, json: bool, device: str) -> None:
    from ..generators import names

    methods = {**_methods("discover"), **_methods("invert")}
    if what in methods:
        _method(methods[what], json)
    elif what in names():
        _generator(what, json, device)
    elif Path(what).is_file():
        from ..artifact import header

        found = header(what)
        content = found.pop("content", {})
        report.facts(found if json else {**_flat(found), **_content(content)}, json)
    else:
        raise UnknownName("generator, method or file", what, [*names(), *methods])


def _method(method: Any, json: bool) -> None:
    if json:
        schema = {k: {**v, "type": getattr(v["type"], "__name__", str(v["type"]))} for k, v in method.schema().items()}
        report.facts(
            {"name": method.name, "paper": method.paper, "tags": sorted(method.tags), "settings": schema}, True
        )
        return
    report.facts(
        {"method": method.name, "paper": method.paper, "tags": sorted(method.tags), "what": _first(method)}, False
    )
    report.rows(
        [
            {
                "setting": k,
                "type": getattr(v["type"], "__name__", str(v["type"])),
                "default": v["default"],
                "help": v.get("help", ""),
            }
            for k, v in method.schema().items()
        ],
        False,
    )


def _generator(name: str, json: bool, device: str) -> None:
    from ..generators import load

    g = load(name, device=device, progress=report.Bars())
    layers = [
        {
            "layer": layer.name,
            "row of w+": layer.row,
            "px": f"{layer.size[1]}x{layer.size[0]}",
            "channels": layer.channels,
            "columns of s": f"{layer.style.start}-{layer.style.stop - 1}"
            if layer.style.stop > layer.style.start
            else None,
            "inputs": list(layer.reads),
            "kind": "image head" if layer.head else None,
        }
        for layer in g.layers
    ]
    numbers = sum(p.numel() for p in g.net.parameters())
    spaces = [{"space": s.name, "shape": list(s.shape), "affine step": s.affine} for s in g.spaces]
    if json:
        about = {
            "name": g.name,
            "size": list(g.size),
            "parameters": numbers,
            "fingerprint": g.fingerprint,
            "inputs": dict(g.inputs),
        }
        report.facts({**about, "spaces": spaces, "layers": layers}, True)
        return
    chain = "  ──▶  ".join(f"{s.name} {'x'.join(map(str, s.shape))}" for s in g.spaces)
    report.facts(
        {
            "generator": f"{g.name}, {g.size[1]}x{g.size[0]} px, {numbers / 1e6:.1f} M numbers",
            "chain": f"{chain}  ──▶  {len(g.layers)} layers  ──▶  picture",
            "inputs": ", ".join(f"{k} {list(v)}" for k, v in g.inputs.items() if not k.startswith("noise.")) or "none",
            "noise": f"{sum(k.startswith('noise.') for k in g.inputs)} maps",
            "fingerprint": g.fingerprint[:16],
        },
        False,
    )
    report.rows(layers, False)


def _flat(found: dict[str, Any]) -> dict[str, Any]:
    flat = {}
    for key, value in found.items():
        flat[key] = ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
    return flat


def _content(content: dict[str, Any]) -> dict[str, Any]:
    items = content.get("items")
    return (
        {"paths": ", ".join(str(i.get("name")) for i in items if isinstance(i, dict))}
        if isinstance(items, list)
        else {}
    )


def doctor(json: bool) -> None:
    import torch

    from .. import cache, catalogue

    wanted = {
        "faces": ["ai_edge_litert", "onnxruntime"],
        "video": ["av"],
        "train": ["lightning_fabric", "zuko"],
        "studio": ["fastapi", "uvicorn"],
    }
    folder = cache.root()
    free = shutil.disk_usage(folder).free / 1e9
    report.facts(
        {
            "python": platform.python_version(),
            "torch": f"{torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} processors",
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
            **{
                f"extra {extra}": "installed"
                if all(importlib.util.find_spec(p) for p in packages)
                else f'missing: pip install "steerable[{extra}]"'
                for extra, packages in wanted.items()
            },
            "cache": f"{folder} ({free:.0f} GB free)",
            "cached": [n for n, e in catalogue.entries().items() if e.cached] or "nothing yet",
            "offline": bool(os.environ.get("STEERABLE_OFFLINE")),
        },
        json,
    )


__all__ = ["describe", "doctor", "generators", "show"]
