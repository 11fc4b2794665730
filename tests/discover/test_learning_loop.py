"""The loop of all discoverers that train: killed or not, alone or shared, it gives one result."""

import os
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from together import two
from torch import nn

from planted import Listening, Planted
from steerable import artifact, cache
from steerable.discover import Discoverer
from steerable.discover.training import flat, seeded, train
from steerable.errors import MethodFailed, SettingError
from steerable.geometry import view
from steerable.method import param, quiet
from steerable.path import Direction, Paths


@dataclass(frozen=True, kw_only=True)
class Learner(Discoverer):
    """Learns the shift of w that makes pictures redder, looking at all rows at once too."""

    name: ClassVar = "learner"
    paper: ClassVar = "none"

    steps: int = param(30, "steps")
    rate: float = param(0.05, "of Adam")
    batch: int = param(8, "pictures")
    patience: int = param(0, "looks without gain")

    def discover(self, generator, *, supervision=None, progress=quiet):
        parts = seeded(3, lambda: nn.Linear(1, generator.spaces[1].shape[0], bias=False))
        target = torch.tensor([0.2, 0.0, 0.0]).reshape(1, 3, 1, 1)

        def loss(step):
            latents, amount = step.codes("w"), step.uniform(-1, 1)
            plain = view(generator, latents)
            moved = view(generator, latents.moved(parts(amount[:, None])))
            away = (moved - plain - amount[:, None, None, None] * target).square().mean((1, 2, 3))
            together = step.everyone(parts(amount[:, None]))  # each row against the mean of all
            return away + 0.01 * (step.mine(together) - together.mean(0)).square().sum(1)

        stop = flat(self.patience, gain=1e-5) if self.patience else None
        how = dict(steps=self.steps, batch=self.batch, rate=self.rate, every=5, stop=stop, progress=progress)
        found = train(self, generator, parts, loss, **how)
        space = generator.space("w")
        path = Direction.along("red", parts.weight[:, 0], space, generator)
        return Paths((path,), {**found.notes(), "weight": parts.weight.detach()})


def kept():
    return list((cache.root() / "derived" / "training").rglob("*.safetensors"))


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("STEERABLE_CACHE", str(tmp_path / "cache"))


def test_killed_and_taken_up_is_as_if_it_had_not_been():
    planted, weights = Planted(), artifact.fingerprint(Planted().net.state_dict())
    straight = Learner().discover(planted).notes
    assert kept() == []
    with pytest.raises(KeyboardInterrupt):
        Learner().discover(planted, progress=Listening(stops_after=13))
    assert len(kept()) == 1
    again = Listening()
    taken_up = Learner().discover(planted, progress=again).notes
    assert "going on from step 10" in again.told
    assert torch.equal(taken_up["weight"], straight["weight"])
    assert taken_up["history"] == straight["history"]
    assert taken_up["steps"] == 30
    assert kept() == []
    assert artifact.fingerprint(planted.net.state_dict()) == weights


def test_it_learns_and_stops_by_its_criterion():
    planted = Planted()
    found = Learner(steps=400, patience=3).discover(planted)
    assert found.notes["ended by its criterion"]
    assert found.notes["steps"] < 400
    assert found.notes["history"][-1] < 0.5 * found.notes["history"][0]
    assert float(found[0].vector.double() @ planted.truth("red")) > 0.9


def test_other_settings_and_a_damaged_file_begin_anew():
    planted = Planted()
    with pytest.raises(KeyboardInterrupt):
        Learner().discover(planted, progress=Listening(stops_after=7))
    other = Listening()
    Learner(rate=0.1).discover(planted, progress=other)
    assert other.told == []
    (file,) = kept()
    file.write_bytes(b"no tensors")
    told = Listening()
    damaged = Learner().discover(planted, progress=told).notes
    assert "training begins anew" in told.told[0]
    assert torch.equal(damaged["weight"], Learner().discover(planted).notes["weight"])


def test_what_cannot_be_trained_says_so():
    with pytest.raises(MethodFailed, match="learner: the loss became"):
        Learner(rate=1e30).discover(Planted())
    planted = Planted()
    planted.net.truth.requires_grad_(True)
    with pytest.raises(SettingError, match="learner trains beside a frozen generator; planted has weights that learn"):
        Learner().discover(planted)


def test_a_seed_makes_weights_and_leaves_the_random_state_alone():
    before = torch.random.get_rng_state()
    a, b = (seeded(s, lambda: nn.Linear(3, 3)).weight for s in (1, 1))
    assert torch.equal(a, b)
    assert torch.equal(torch.random.get_rng_state(), before)


def work(folder, name):
    os.environ["STEERABLE_CACHE"] = str(folder / f"cache-{name}")
    planted = Planted()
    artifact.save(Learner().discover(planted), folder / f"learned-{name}.safetensors")
    with pytest.raises(SettingError if name != "alone" else KeyboardInterrupt):
        Learner(batch=1).discover(planted, progress=Listening(stops_after=6))


def test_two_processes_learn_what_one_learns(tmp_path):
    work(tmp_path, "alone")
    two(work, tmp_path)
    alone, a, b = (artifact.load(tmp_path / f"learned-{name}.safetensors") for name in ("alone", 0, 1))
    assert torch.equal(a.notes["weight"], b.notes["weight"])
    assert a.notes["history"] == b.notes["history"]
    assert torch.allclose(a.notes["weight"], alone.notes["weight"], atol=1e-5)
    assert a.notes["history"] == pytest.approx(alone.notes["history"], rel=1e-4)
