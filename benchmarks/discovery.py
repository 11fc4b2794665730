"""Discovery against what the papers' releases call, on one thread, in CPU seconds: python -m benchmarks.discovery [NAME …]

pca     components of 1,000,000 codes of 512 numbers; sampling is not counted on either side. Ours sees all of them, incremental PCA (as
        GANSpace calls it: 80 components, batches of 2,000) the first 200,000, and its time is multiplied by five: it is linear in rows.
ridge   a planted direction of 512 numbers from 5,000 noisy scores: ridge on the scores, against a kernel SVC on their signs, as
        InterFaceGAN calls it, and our InterFaceGAN on the 2 % ends of the same scores.
krylov  the ten strongest directions of the derivative of ffhq-1024's 64 px preview at three codes: block Krylov iteration against
        the whole matrix of 512 columns; cosine of the directions.
rescoring  HiGAN's layer-wise re-scoring of two faces at 256 px (its own groups of rows, both signs), with the prefix cache and without: on
        previews of ffhq-1024, and on full pictures of a StyleGAN2 of 256 px.
processes  labeling 512 previews at 128 px: two single-threaded processes against one, wall time.
memory  a whole run of GANSpace with 1,000,000 samples, sampling included, in a process of its own: what its peak adds to the model's.
"""

import os
import resource
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

D, K = 512, 80
ROWS, SHORT = 1_000_000, 200_000


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def cosines(found: Tensor, exact: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(found.double(), exact.double(), dim=1).abs()


def codes(rows: int) -> Tensor:
    """Rows with a mean and an exponential spectrum over a floor, as those of a mapping network."""
    source = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(D, D, generator=source)).Q
    deviations = (8 * torch.exp(-torch.arange(D) / 40) + 0.01).sqrt()
    X = torch.empty(rows, D)
    for block in X.split(10_000):
        torch.addmm(
            torch.full((1, D), 0.3), torch.randn(len(block), D, generator=source) * deviations, axes.T, out=block
        )
    return X


def exact(X: Tensor) -> Tensor:
    """The first components, from a covariance in float64."""
    mean = sum(part.sum(0, dtype=torch.float64) for part in X.split(10_000)) / len(X)
    scatter = torch.zeros(D, D, dtype=torch.float64)
    for part in X.split(10_000):
        away = part.double() - mean
        scatter += away.T @ away
    return torch.linalg.eigh(scatter).eigenvectors.T.flip(0)[:K]


def pca() -> None:
    from sklearn.decomposition import IncrementalPCA

    from steerable.discover.ganspace import whole

    X = codes(ROWS)
    seconds, found = cpu(lambda: whole(iter(X.split(1024)), K))
    near = cosines(found.vectors, exact(X))
    print(f"ours, {ROWS:,} rows: {seconds:.1f} s; cosine to the exact component, worst of {K}: {near.min():.7f}")
    X = X[:SHORT].clone()
    theirs = IncrementalPCA(n_components=K, batch_size=2000)
    taken, _ = cpu(lambda: theirs.fit(X.numpy()))
    near = cosines(torch.from_numpy(theirs.components_), exact(X))
    short, _ = cpu(lambda: whole(iter(X.split(1024)), K))
    times = ROWS / SHORT
    print(f"incremental PCA, {SHORT:,} rows: {taken:.1f} s; worst cosine {near.min():.4f}, mean {near.mean():.4f}")
    print(f"the same rows, ours: {short:.2f} s; ratio {taken / short:.1f}")
    print(f"{ROWS:,} rows: {taken * times:.0f} s (extrapolated) / {seconds:.1f} s = {taken * times / seconds:.1f}")


def ridge(n: int = 5000) -> None:
    from sklearn.svm import SVC

    from steerable.discover import InterFaceGAN
    from steerable.discover.boundary import ridge as fit

    source = torch.Generator().manual_seed(0)
    X = torch.randn(n, D, generator=source)
    truth = torch.nn.functional.normalize(torch.randn(D, generator=source), dim=0)
    scores = (X @ truth + 0.7 * torch.randn(n, generator=source))[:, None]
    fit(X[:600], scores[:600])  # the first call loads libraries
    seconds = sorted(cpu(lambda: fit(X, scores))[0] for _ in range(5))[2]
    beta, _, r2 = fit(X, scores)
    print(
        f"ridge, {n:,} scores: {seconds:.3f} s (median of 5); cosine to the truth {cosines(beta.T, truth[None])[0]:.4f}, R2 {r2[0]:.3f}"
    )
    tails, [(normal, _)] = cpu(lambda: InterFaceGAN(n=n).fit(X, scores, ("planted",)))
    print(f"InterFaceGAN on 2 % ends, ours: {tails:.3f} s; cosine {cosines(normal[None], truth[None])[0]:.4f}")
    slow, svc = cpu(lambda: SVC(kernel="linear").fit(X.numpy(), (scores[:, 0] > 0).numpy()))
    print(
        f"SVC, {n:,} signs: {slow:.1f} s; cosine {cosines(torch.tensor(svc.coef_), truth[None])[0]:.4f}; ratio {slow / seconds:.0f}"
    )


def krylov() -> None:
    import steerable as st
    from steerable.geometry import Derivative, around, top

    g = st.load("ffhq-1024", device="cpu")
    for seed in (3, 4, 5):
        w = st.Truncate(0.7).latents(g.lift(g.sample(1, seed=seed), "w"), g)
        J = Derivative(around(g, w, size=64), w.values[0])
        whole, Jt = cpu(J.matrix)
        _, V = torch.linalg.eigh((Jt @ Jt.T).double())
        short, (_, U) = cpu(lambda J=J: top(J.gram(), 512, 10))
        least = cosines(U, V.T.flip(0)[:10]).min()
        print(f"code {seed}: {whole:.1f} / {short:.1f} s = {whole / short:.2f}; worst cosine of ten {least:.5f}")


def rescoring() -> None:
    import steerable as st
    from benchmarks.stylegan2 import CONFIG
    from benchmarks.timing import interleaved, ratio
    from steerable.discover import rescoring as again
    from steerable.generators.stylegan2 import random
    from steerable.method import quiet
    from steerable.renderer import Renderer
    from steerable.score.labels import drawing

    def measured(g: Any, size: int | None) -> None:
        path, scorer, first = st.discover("random", g, space="w", k=1)[0], brightness(), [st.Truncate(0.7)]
        moves, people = [again.Move(path, rows) for rows in st.HiGAN().groups(g)], g.sample(2, seed=0)

        def forgetful(drawn: Any, size: int | None) -> None:
            for i in range(len(people)):
                for sign in (1, -1):
                    for m in moves:
                        move = m.path.at(sign * 2.0, layers=m.layers)
                        scorer(Renderer(drawn, memory_mb=0)(people[i], [*first, move], size=size))

        ways = {"full pictures again": lambda: forgetful(g, None)}
        if size:
            ways["previews again"] = lambda: forgetful(g, size)
            ways["previews again, as they are drawn"] = lambda: forgetful(drawing(g, size), size)
        cached = lambda: again.rescore(g, people, moves, scorer, step=2.0, edits=first, size=size, progress=quiet)
        times = interleaved({**ways, "cached": cached}, 3)
        print(f"{g.name}: re-scoring {len(moves)} groups of rows of 2 faces; cached over")
        for name in ways:
            print(f"  {name}: {ratio(times, 'cached', name)}")

    measured(st.load("ffhq-1024", device="cpu"), 256)
    measured(random(CONFIG), None)


def processes(n: int = 512) -> None:
    """Runs itself in fresh processes, with one thread each, on seeds that nobody has labeled before."""

    def wall(count: int) -> float:
        launch = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            f"--nproc-per-node={count}",
            "-m",
            "benchmarks.discovery",
        ]
        env = os.environ | {"OMP_NUM_THREADS": "1", "FIRST": str(secrets.randbelow(1 << 31)), "LABELED": str(n)}
        done = subprocess.run([*launch, "share"], env=env, capture_output=True, text=True, check=True)
        return float(done.stdout)

    alone, both = wall(1), wall(2)
    print(f"labeling {n} previews at 128 px: one process {alone:.1f} s, two {both:.1f} s, ratio {alone / both:.2f}")


def share() -> None:
    """What each of those processes does: it labels its part; the first prints the seconds until all had ended."""
    import torch.distributed as dist

    import steerable as st

    torch.set_num_threads(1)
    g = st.load("ffhq-1024", device="cpu")
    first, n = int(os.environ["FIRST"]), int(os.environ["LABELED"])
    g.truncate(g.lift(g.sample(1), "w"), 0.7)  # the mean is not part of the work
    dist.init_process_group("gloo")
    dist.barrier()
    start = time.monotonic()
    st.label(g, brightness(), n, seed=first, psi=0.7, size=128)
    dist.barrier()
    if dist.get_rank() == 0:
        print(time.monotonic() - start)
    dist.destroy_process_group()


def brightness() -> Any:
    """A scorer that costs nothing, so that rendering is what is timed."""
    from steerable.score import Scorer

    class Brightness(Scorer):
        name, version, names, units, previews = "brightness", 1, ("brightness",), ("",), (64,)

        def read(self, images: Tensor) -> Tensor:
            return images.mean((1, 2, 3))[:, None]

    return Brightness()


def memory() -> None:
    """Runs itself in a fresh process, whose peak is its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.discovery", "peak"], capture_output=True, text=True, check=True
    )
    print(done.stdout, end="")


def peak() -> None:
    from steerable.discover import GANSpace
    from steerable.generators.tiny import TinyStyle

    g = TinyStyle(d=D)
    g.lift(g.sample(1), "w")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, _ = cpu(lambda: GANSpace(k=K, n=ROWS).discover(g))
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"GANSpace, {ROWS:,} samples of {D} numbers: {more:.0f} MB above the model; {seconds:.0f} s, sampling included"
    )


def main() -> None:
    torch.set_num_threads(1)
    parts = {
        "pca": pca,
        "ridge": ridge,
        "memory": memory,
        "krylov": krylov,
        "rescoring": rescoring,
        "processes": processes,
    }
    for name in sys.argv[1:] or parts:
        {**parts, "peak": peak, "share": share}[name]()


if __name__ == "__main__":
    main()
