"""What the generator of heads that comes with the package is worth: `python -m benchmarks.heads64` (needs the extra "render").

Everything is measured against renders that it was not trained on (another seed): pictures of the same factors, edits against truly edited
renders, the judge's reading, the Fréchet distance in the judge's features, sharpness, loading time and speed.
"""

import argparse
import time

import numpy as np
import torch

from steerable.data import heads as rendered
from steerable.data.heads import NAMES
from steerable.generators import heads
from steerable.images import from_bytes
from steerable.score.judge import Judge, distance
from steerable.space import Latents
from steerable.train.planted import psnr, sharpness


def of(g: heads.Heads, factors: np.ndarray) -> Latents:
    """Codes in w of these factors."""
    start = g.lift(g.sample(1), "w")
    start = start[[0] * len(factors)]
    target = torch.from_numpy(np.asarray(factors, dtype=np.float32))
    return start.moved((target - g.factors(start)) @ g.directions())


def pictures(g: heads.Heads, latents: Latents) -> torch.Tensor:
    return torch.cat([g.synthesize(latents[i : i + 50]) for i in range(0, len(latents), 50)]).clamp(-1, 1)


def bytes_of(images: torch.Tensor) -> torch.Tensor:
    return ((images + 1) * 127.5).round() / 127.5 - 1


def r2(read: torch.Tensor, true: torch.Tensor) -> list[float]:
    return (1 - (read - true).square().mean(0) / true.var(0)).tolist()


def edits(g: heads.Heads, name: str, n: int, seed: int) -> tuple[float, float]:
    """PSNR after the edit, and correlation of the change with the true change; from -.85 to .85."""
    f = rendered.factors(n, seed=seed)
    low, high = f.copy(), f.copy()
    low[:, NAMES.index(name)], high[:, NAMES.index(name)] = -0.85, 0.85
    true = [from_bytes(rendered.render(x)) for x in (low, high)]
    made = [pictures(g, of(g, x)) for x in (low, high)]
    change, wanted = (((b - a).flatten(1)) for a, b in (made, true))
    correlation = [float(np.corrcoef(a.numpy(), b.numpy())[0, 1]) for a, b in zip(change, wanted, strict=True)]
    return psnr(made[1], true[1]), float(np.mean(correlation))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-n", type=int, default=1000, help="held-out renders")
    options.add_argument("--edits", type=int, default=16, help="heads per factor for the true edits")
    told = options.parse_args()
    torch.set_num_threads(1)

    start = time.perf_counter()
    g = heads.load("heads-64")
    print(f"loading                       {time.perf_counter() - start:.3f} s")
    z = g.sample(200)
    pictures(g, z[:50])
    start = time.process_time()
    pictures(g, z)
    print(f"pictures in batches           {200 / (time.process_time() - start):.0f} a second of one core")

    factors = rendered.factors(2 * told.n, seed=101)
    real = from_bytes(rendered.render(factors))
    first, second = real[: told.n], real[told.n :]
    made = bytes_of(pictures(g, of(g, factors[: told.n])))
    print(f"PSNR of held-out factors      {psnr(made, first):.2f} dB")
    print(f"sharpness                     {sharpness(made) / sharpness(first):.3f} of that of renders")
    judge = Judge()
    own = bytes_of(pictures(g, g.sample(told.n, seed=10_000)))
    seen = [judge.features(x) for x in (first, second, own)]
    print(
        f"Fréchet distance, {told.n} pictures  {distance(seen[2], seen[0]):.2f}; renders to renders {distance(seen[1], seen[0]):.2f}"
    )

    true = torch.from_numpy(rendered.labels(factors))
    on_renders, on_made = r2(judge(second), true[told.n :]), r2(judge(made), true[: told.n])
    print(
        f"{'factor':12s} {'judge on renders':>17s} {'on generated':>13s} {'PSNR of edit':>13s} {'its correlation':>16s}"
    )
    for k, name in enumerate(NAMES):
        after, agreement = edits(g, name, told.edits, seed=202)
        print(f"{name:12s} {on_renders[k]:17.3f} {on_made[k]:13.3f} {after:13.1f} {agreement:16.3f}")


if __name__ == "__main__":
    main()
