"""StyleGAN3 as NVIDIA's code stores it."""

import math

import pytest
import torch
import written as w
from test_stylegan2_files import critic_of

from generators.shapes import STYLEGAN3
from steerable import checkpoints
from steerable.errors import ArtifactError
from steerable.generators import stylegan2_critic
from steerable.generators.stylegan3 import Config, random

CONFIGS = {kind: STYLEGAN3[kind] for kind in ("t", "r", "classes-radial-3x3", "gray-clamp-critical")}


def same(read, g):
    z = g.sample(2)
    a, b = read.synthesize(z), g.synthesize(z)
    assert float((a - b).abs().max()) <= 1e-5 * float(b.abs().max())


def identified(state, options=None):
    return checkpoints.identified(w.read(state), "x", options=options)


@pytest.mark.parametrize("kind", CONFIGS)
def test_snapshots(kind):
    g = random(CONFIGS[kind], seed=3)
    state, arguments = w.nvidia3(g)
    critic = critic_of(stylegan2_critic.Config((10, 8)))
    parts = {"G_ema": (state, arguments, {}), "D": (w.critic_state(critic), {}, {})}
    found = checkpoints.opened(w.nvidia_pickle(parts))
    assert (found.family, found.config, found.notes) == ("stylegan3", g.net.config, [])
    read = found.generator("theirs")
    same(read, g)
    x = torch.ones(2, 3, 8, 8)
    assert torch.equal(read.critic(x), critic(x))


@pytest.mark.parametrize("radial", [False, True])
def test_shapes_alone_tell_a_published_net(radial):
    g = random(Config(64, 5, 6, c_dim=2, channel_base=700, channel_max=20, radial=radial, conv_kernel=1), seed=3)
    found = identified({f"G_ema.{key}": t for key, t in w.nvidia3(g)[0].items()})
    assert [note.partition(" ")[0] for note in found.notes] == ["mapping_lr", "clamp", "output_scale"]
    same(found.generator("theirs"), g)


def test_what_cannot_be_read_is_said():
    state, options = w.nvidia3(random(CONFIGS["gray-clamp-critical"]))
    told = {key: options[key] for key in ("margin_size", "num_critical", "first_cutoff", "channel_base", "channel_max")}
    first = next(key.rpartition(".")[0] for key in state if key.startswith("synthesis.L0"))
    with pytest.raises(
        ArtifactError, match="x is a StyleGAN3 of NVIDIA's, but damaged: synthesis.L0_… or one of those after"
    ):
        identified({k: v for k, v in state.items() if not k.startswith(first)})
    with pytest.raises(
        ArtifactError,
        match=r"layer \d, L\d+_\d+_\d+, that would be \d+ px with \d+ channels by its options; give channel_base",
    ):
        identified(state)
    with pytest.raises(ArtifactError, match="x says w_dim=13 by its options, 12 by its tensors"):
        identified(state, told | {"w_dim": 13})
    with pytest.raises(
        ArtifactError, match=r"the filter L0.\w+ is not the one that its options describe; give num_critical"
    ):
        identified(state | {f"{first}.up_filter": torch.ones(12) / 12}, told).generator("x")
    with pytest.raises(ArtifactError, match="input.phases is missing"):
        identified({k: v for k, v in state.items() if not k.endswith("phases")}, told).generator("x")
    with pytest.raises(ArtifactError, match="1 tensors belong to nothing, the first is 'noise'"):
        identified(state | {"noise": torch.zeros(1)}, told).generator("x")
    with pytest.raises(ArtifactError, match="damaged or of another kind: first_cutoff is between 0 and resolution"):
        identified(state, told | {"first_cutoff": -1.0})


def test_whatever_the_tensors_and_options_only_our_errors():
    state, _ = w.nvidia3(random(CONFIGS["classes-radial-3x3"]))
    told = {"margin_size": 4, "channel_base": 150, "channel_max": 11}
    last = [key for key in state if key.startswith("synthesis.L")][-8:]
    mutants = (torch.zeros(()), torch.zeros(2), torch.zeros(5, 1), torch.zeros(0, 4, 2, 2, 1))
    for i, key in enumerate([key for key in state if not key.startswith("synthesis.L")] + last):
        mutant = mutants[i % 4] if mutants[i % 4].shape != state[key].shape else mutants[i % 4 - 1]
        with pytest.raises(ArtifactError, match=r"^x:? [^\n]+$"):
            identified(state | {key: mutant}, told).generator("x")
    wrong = (
        "first_cutoff",
        "margin_size",
        "mapping_kwargs",
        "conv_clamp",
        "filter_size",
        "channel_base",
        "output_scale",
    )
    for key in wrong:
        for value in ("?", [1], math.nan, -1)[: 3 if key == "output_scale" else 4]:
            with pytest.raises(ArtifactError, match=r"^x:? [^\n]+$"):
                identified(state, told | {key: value}).generator("x")
