"""ffhq-1024 against OpenVINO and against itself.

OpenVINO is left out where it is not installed (pip install openvino). It is told to compute in float32: by itself it would take bfloat16.

pictures   a 1024 px face from w; the floor is what the 1x1 convolutions alone take
previews   from the state before the layer that a preview begins at, and from w
resuming   the picture once more when styles from some layer on have changed
quality    PSNR of previews over 40 held-out faces (psi 0.4 to 1), and of the bfloat16 picture
memory     what the first picture adds to the model's peak, in a process of its own (Linux)
threads    wall time on two threads: the fold on OpenMP's, strips on Python's
"""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from statistics import mean, median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from steerable import catalogue, checkpoints
from steerable.generators.mobilestylegan import MobileStyleGAN, fit_heads
from steerable.layer import State
from steerable.nn.convolution import conv1x1
from steerable.space import Latents

from .timing import interleaved, milliseconds, ratio, table

NAME = "ffhq-1024"
Work = Mapping[str, Callable[[], Any]]


def compared(work: Work, rounds: int) -> None:
    """Each variant against the first one."""
    first, times = next(iter(work)), interleaved(work, rounds)
    rows = [(name, milliseconds(times, name), ratio(times, name, first)) for name in work]
    print(table(("variant", "CPU ms", f"× {first}"), rows), end="\n\n", flush=True)


def loaded() -> MobileStyleGAN:
    return checkpoints.catalogued(catalogue.entry(NAME), catalogue.fetch(NAME)).generator(NAME)


def face(g: MobileStyleGAN, seed: int, psi: float) -> Latents:
    return g.lift(g.truncate(g.sample(1, seed=seed), psi), "w")


def states(g: MobileStyleGAN, latents: Latents) -> list[State]:
    """The state before every layer."""
    with torch.no_grad():
        return [g.start(latents), *(state for _, state in g.states(latents, until=len(g.layers) - 1))]


def openvino(w: Tensor) -> Callable[[], Tensor] | None:
    try:
        from openvino import Core
    except ImportError:
        return None
    files = {name.rpartition("/")[2]: str(path) for name, path in catalogue.fetch(NAME).items()}
    model = Core().read_model(files["SynthesisNetwork.xml"], files["SynthesisNetwork.bin"])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    compiled = Core().compile_model(model, "CPU", settings)
    return lambda: torch.from_numpy(compiled(w.numpy())[0])


def floor(g: MobileStyleGAN, dtype: torch.dtype) -> Callable[[], None]:
    """The 1x1 convolutions of one picture, in the strips that it is made in."""
    calls = []
    for part, layer in zip(g.net.styled, g.layers, strict=True):
        if part.kind in ("up", "conv"):
            strips = 8 if layer.size[0] >= 256 else 1
            x = torch.randn(1, part.weight.shape[1], part.size // strips, part.size)
            weight, bias = (t.to(dtype) for t in (part.weight, part.bias))
            calls.append((x.to(dtype, memory_format=torch.channels_last), weight, bias, strips))

    def run() -> None:
        with torch.no_grad():
            for x, weight, bias, strips in calls:
                for _ in range(strips):
                    conv1x1(x, weight, bias)

    return run


def pictures(g: MobileStyleGAN, rounds: int) -> None:
    w, half = face(g, 0, 0.7), g.half()
    work: dict[str, Callable[[], Any]] = {}
    if (theirs := openvino(w.values)) is not None:
        work["OpenVINO f32"] = theirs
        print(f"largest difference from OpenVINO: {float((theirs() - g.synthesize(w)).abs().max()):.1e}\n")

    def plain() -> None:
        with torch.no_grad():
            g.synthesize(w, grad=True)

    work["plain formula"] = plain
    work["float32"] = lambda: g.synthesize(w)
    work["bfloat16 twin"] = lambda: half.synthesize(w)
    work["floor, float32"] = floor(g, torch.float32)
    work["floor, bfloat16"] = floor(g, torch.bfloat16)
    compared(work, rounds)


def previews(g: MobileStyleGAN, rounds: int) -> None:
    w = face(g, 0, 0.7)
    s, half = g.lift(w, "s"), g.half()
    before, before_half = states(g, s), states(half, s)
    work: dict[str, Callable[[], Any]] = {"full picture": lambda: g.synthesize(w)}
    for i in (9, 11, 13, 15):
        px = before[i].x.shape[-1]

        def from_w(i: int = i) -> None:
            latents = g.lift(w, "s")
            g.coarse(i, [g.start(latents), *(state for _, state in g.states(latents, until=i))][-1], latents)

        work[f"{px} px from w"] = torch.no_grad()(from_w)
        work[f"{px} px from its state"] = torch.no_grad()(lambda i=i: g.coarse(i, before[i], s))
        work[f"{px} px from its state, bfloat16"] = torch.no_grad()(lambda i=i: half.coarse(i, before_half[i], s))
    compared(work, rounds)


def resuming(g: MobileStyleGAN, rounds: int) -> None:
    w = face(g, 0, 0.7)
    s = g.lift(w, "s")
    before = states(g, s)
    work: dict[str, Callable[[], Any]] = {"full picture": lambda: g.synthesize(w)}
    for i in (7, 9, 11, 13, 15):
        work[f"from {g.layers[i].name} (layer {i}) on"] = lambda i=i: g.tail(i, before[i], s)
    compared(work, rounds)


def psnr(a: Tensor, b: Tensor) -> float:
    return 10 * math.log10(4 / float((a.clamp(-1, 1) - b.clamp(-1, 1)).square().mean()))


def quality(g: MobileStyleGAN, n: int = 40) -> None:
    """Where "swapped", the styles from the preview's layer on belong to another face."""
    half, found = g.half(), {}
    heads = g._heads() or fit_heads(g)
    psi = torch.rand(n, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.4
    for k in range(n):
        s = g.lift(face(g, 10_000 + k, float(psi[k])), "s")
        other = g.lift(face(g, 20_000 + k, float(psi[k])), "s")
        before = states(g, s)
        picture = g.tail(15, before[15], s)
        found.setdefault("1024 px, bfloat16 twin", []).append(psnr(half.synthesize(s), picture))
        for i in g.previews:
            for title, codes in (("", s), (", swapped", s.at(torch.where(late(g, i), other.values, s.values)))):
                truth = F.adaptive_avg_pool2d(g.tail(i, before[i], codes), before[i].x.shape[-1])
                for words, maps in (("", heads), (", no heads", None)):
                    g._kept["heads"] = maps
                    with torch.no_grad():
                        near = g.coarse(i, before[i], codes)
                    found.setdefault(f"{len(truth[0, 0])} px{title}{words}", []).append(psnr(near, truth))
        g._kept["heads"] = heads
    rows = [(name, f"{mean(values):.1f}", f"{min(values):.1f}") for name, values in found.items()]
    print(table(("preview", "mean PSNR, dB", "least"), rows), end="\n\n", flush=True)


def late(g: MobileStyleGAN, i: int) -> Tensor:
    mask = torch.zeros(1, *g.space("s").shape, dtype=torch.bool)
    mask[:, g.layers[i].style.start :] = True
    return mask


def memory() -> None:
    if not sys.platform.startswith("linux"):
        return
    child = [sys.executable, "-c", "from benchmarks.mobilestylegan import child; child()"]
    print(f"one picture: {subprocess.run(child, capture_output=True, text=True, check=True).stdout}", flush=True)


def child() -> None:
    torch.set_num_threads(1)
    g = loaded()
    s = g.lift(face(g, 0, 0.7), "s")

    def peak() -> float:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1000

    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before = peak()
    g.synthesize(s)
    print(f"{peak() - before:.0f} MB above {before:.0f} MB with the model")


def threads(g: MobileStyleGAN, rounds: int) -> None:
    s = g.lift(face(g, 0, 0.7), "s")

    @torch.no_grad()
    def fold() -> None:
        g.finish([state for _, state in g.states(s, grad=False)][-1], s)

    def wall(count: int, work: Callable[[], Any]) -> str:
        torch.set_num_threads(count)
        spent = []
        for _ in range(rounds + 1):
            start = time.perf_counter()
            work()
            spent.append(1000 * (time.perf_counter() - start))
        torch.set_num_threads(1)
        return f"{median(spent[1:]):.0f} (least {min(spent[1:]):.0f})"

    strips = lambda: g.synthesize(s)
    rows = [("one thread", wall(1, strips)), ("two, the fold", wall(2, fold)), ("two, strips", wall(2, strips))]
    print(table(("variant", "wall ms"), rows), flush=True)


def main(rounds: int) -> None:
    g = loaded()
    pictures(g, rounds)
    previews(g, rounds)
    resuming(g, rounds)
    quality(g)
    memory()
    threads(g, rounds)
