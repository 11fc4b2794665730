"""The descent: known codes come back, and every setting does what it says."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from steerable import artifact
from steerable.errors import MethodFailed, SettingError, SpaceError
from steerable.generators import stylegan2
from steerable.generators.tiny import TinyPlain, TinyStyle
from steerable.invert import Optimize, invert, noise, starts
from steerable.invert.descent import SCHEDULES, Descent
from steerable.invert.observe import Downsample, Identity
from steerable.measure.fidelity import psnr
from steerable.render import render

STYLE, PLAIN, CLASS = TinyStyle(), TinyPlain(), TinyPlain(classes=3)
SG2 = stylegan2.random(stylegan2.Config.tiny())
PIXELS = {"lpips": 0.0}
NOWHERE = {"observe": lambda x: x * torch.inf, "space": "z"}


class Told:
    """Listens; with `stop`, presses Ctrl-C after so many steps."""

    def __init__(self, stop: int | None = None, where: str = ""):
        self.stop, self.where, self.notes, self.titles = stop, where, [], []

    def over(self, items, /, title, total=None):
        self.titles.append(title)
        for i, item in enumerate(items):
            if i == self.stop and self.where in title:
                raise KeyboardInterrupt
            yield item

    def note(self, text, /):
        self.notes.append(text)


def picture(g, n=1, seed=5):
    inputs = {"label": torch.eye(3)[[1]].repeat(n, 1)} if "label" in g.inputs else None
    return render(g, g.sample(n, seed=seed, inputs=inputs))


def quality(g, found, images):
    return float(psnr(render(g, found), images).min())


@pytest.mark.parametrize(
    ("g", "settings"),
    [
        (STYLE, {"space": "w", "coordinates": "plain", "steps": 80, "rate": 0.1}),
        (STYLE, {"space": "w+", "steps": 150, "rate": 0.1}),
        (STYLE, {"space": "s", "coordinates": "plain", "steps": 80}),
        (STYLE, {"space": "z", "steps": 150, "rate": 0.15}),
        (STYLE, {"space": "w", "coordinates": "pn", "steps": 120, "rate": 0.15}),
        (STYLE, {"space": "w+", "steps": 200, "coarse": "4:0.1,8:0.2", "rate": 0.2}),
        (SG2, {"space": "w", "coordinates": "plain", "steps": 120, "rate": 0.1}),
        (PLAIN, {"space": "z", "start": "best", "steps": 100, "rate": 0.15}),
        (
            PLAIN,
            {"space": "z", "start": "best", "steps": 40, "optimizer": "lbfgs", "rate": 1.0, "schedule": "constant"},
        ),
        (CLASS, {"space": "z", "start": "best", "label": 1, "steps": 100, "rate": 0.15}),
    ],
    ids=lambda v: v.name if hasattr(v, "name") else "-".join(str(x) for x in v.values()),
)
def test_a_known_code_comes_back(g, settings):
    images = picture(g)
    assert quality(g, invert("optimize", g, images, **PIXELS, **settings), images) >= 40


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lipton-tripathi", {"steps": 250, "rate": 4.0}),
        ("creswell-bharath", {"steps": 150, "rate": 0.03, "schedule": "cosine", "prior": 1e-6}),
        ("igan", {"steps": 40, "features": 0.0, "samples": 200}),
    ],
)
def test_published_systems_for_plain_generators_bring_codes_back(name, settings):
    images = picture(PLAIN)
    found = invert(name, PLAIN, images, **settings)
    assert quality(PLAIN, found, images) >= 40
    assert found.notes["preset"] == name


def test_the_projector_stores_the_noise_that_it_searched():
    images = picture(STYLE)
    found = invert("projector", STYLE, images, pixels=1.0, lpips=0.0, noise_penalty=0.1, steps=80)
    maps = found.latents.inputs
    assert set(maps) == set(STYLE.inputs)
    for x in maps.values():
        assert float(x.mean()) == pytest.approx(0, abs=1e-5)
        assert float(x.square().mean()) == pytest.approx(1, abs=1e-4)
    assert found.latents.space.name == "w"
    plain = replace(found, latents=replace(found.latents, inputs={}))
    assert quality(STYLE, found, images) > quality(STYLE, plain, images) + 3


def test_noise_comes_after_codes_in_image2stylegan_plus_plus():
    images = picture(STYLE) + 0.2 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    told = dict(features=0.0, steps=60, rate=0.05, noise_rate=5.0, seed=4)
    found = invert("image2stylegan++", STYLE, images, **told)
    codes = invert("image2stylegan++", STYLE, images, **(told | {"noise": "joint", "noise_rate": 0.0, "steps": 60}))
    assert found.notes["loss"] < codes.notes["loss"]
    assert set(found.latents.inputs) == set(STYLE.inputs)


def test_noise_that_draws_is_penalized():
    smooth = torch.linspace(-1, 1, 16).expand(1, 1, 16, 16)
    white = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert noise.penalty({"a": smooth}) > 5 * noise.penalty({"a": white})
    with pytest.raises(SettingError, match="no noise inputs"):
        invert("optimize", PLAIN, picture(PLAIN), space="z", noise="joint", **PIXELS)


def test_only_the_layers_named_move():
    found = invert("optimize", STYLE, picture(STYLE), layers="1-2", steps=10, **PIXELS)
    mean = starts.mean(STYLE, 1, "w+", {}).values
    assert torch.equal(found.latents.values[:, 0], mean[:, 0])
    assert not torch.equal(found.latents.values[:, 1:], mean[:, 1:])
    with pytest.raises(SettingError, match="belong to all layers"):
        invert("optimize", STYLE, picture(STYLE), space="w", layers="1", steps=1, **PIXELS)


@pytest.mark.parametrize("bound", ["clip", "stochastic"])
def test_coordinates_stay_within_bounds(bound):
    told = Optimize(
        space="z", coordinates="plain", bound=bound, limit=0.5, start="random", steps=30, rate=0.3, lpips=0.0
    )
    found = told.invert(PLAIN, picture(PLAIN))
    assert found.latents.values.abs().max() <= 0.5
    on_the_border = (found.latents.values.abs() == 0.5).any()
    assert bool(on_the_border) == (bound == "clip")


def test_pulse_stays_on_the_sphere_and_explains_the_small_picture():
    images = picture(STYLE)
    small = Downsample(4)(images)
    found = invert("pulse", STYLE, small, observe="downsample:4", noise="no", enough=None, steps=60)
    u = Descent(Optimize(coordinates="pn", floor=1e-2), STYLE, found.latents, 0).u
    assert torch.allclose(u.norm(dim=-1), torch.full((1, 3), 4.0), atol=1e-3)
    assert float(psnr(Downsample(4)(render(STYLE, found)), small)) > 25


@pytest.mark.parametrize("observe", ["box:0.25,0.25,0.75,0.75", "gray", "blur:1", "downsample:2", "gray+downsample:2"])
def test_what_was_observed_is_explained(observe):
    from steerable.invert import observation

    A, images = observation(observe, STYLE.size), picture(STYLE)
    found = invert("optimize", STYLE, A(images), observe=observe, space="w", coordinates="plain", steps=80, **PIXELS)
    assert float(psnr(A(render(STYLE, found)), A(images))) > 35


def test_coarse_stages_come_first_and_what_cannot_be_had_is_said():
    told = Told()
    invert("optimize", STYLE, picture(STYLE), coarse="4:0.5,8:0.25", steps=8, progress=told, **PIXELS)
    assert told.titles == ["steps at 4 px", "steps at 8 px", "steps at 16 px"]
    assert told.notes[-1].startswith("about ")
    assert "4 steps at 4 px" in told.notes[-1]
    told = Told()
    invert("optimize", PLAIN, picture(PLAIN), space="z", coarse="8:0.5", steps=4, progress=told, **PIXELS)
    assert told.titles == ["steps at 16 px"]
    assert told.notes[0] == "no steps at 8 px: tiny-plain has no preview of that size"
    for text in ("8:0.5,4:0.2", "4:1", "x", "4:0.6,8:0.6"):
        with pytest.raises(SettingError, match="from small to large"):
            invert("optimize", STYLE, picture(STYLE), coarse=text, **PIXELS)


def test_a_search_ends_early():
    long = invert("optimize", STYLE, picture(STYLE), steps=60, enough=0.05, **PIXELS)
    assert long.notes["steps"] < 60
    assert float(long.notes["loss"]) <= 0.05
    stuck = Optimize(rate=0.0, steps=50, patience=3, lpips=0.0).invert(STYLE, picture(STYLE))
    assert stuck.notes["steps"] == 4


def test_interrupted_it_keeps_the_best_so_far():
    images = picture(STYLE, 3)
    told = Told(stop=20, where="picture 2")
    found = invert("optimize", STYLE, images, steps=40, progress=told, **PIXELS)
    assert len(found.latents) == 2
    assert found.notes["interrupted"] == "after 20 of 40 steps of picture 2; later pictures are not here"
    whole = invert("optimize", STYLE, images[:1], steps=40, **PIXELS)
    assert torch.equal(found.latents.values[0], whole.latents.values[0])
    start = render(STYLE, starts.mean(STYLE, 1, "w+", {}))
    assert float(psnr(render(STYLE, found)[1:], images[1:2])) > float(psnr(start, images[1:2]))
    early = invert("optimize", STYLE, images[:1], steps=40, progress=Told(stop=0), **PIXELS)
    assert torch.allclose(early.latents.values, starts.mean(STYLE, 1, "w+", {}).values, atol=1e-5)


def test_pictures_of_a_batch_are_independent():
    images = picture(STYLE, 2)
    told = {"steps": 15, "start": "best", "samples": 8, **PIXELS}
    both = invert("optimize", STYLE, images, batch=2, **told)
    each = invert("optimize", STYLE, images, batch=1, **told)
    assert torch.allclose(both.latents.values, each.latents.values, atol=1e-3)


def test_the_best_of_several_starts_is_kept():
    images = picture(PLAIN)
    told = {"space": "z", "start": "random", "steps": 12, **PIXELS}
    one, three = (invert("optimize", PLAIN, images, restarts=n, **told) for n in (1, 3))
    assert float(three.notes["loss"]) <= float(one.notes["loss"])
    assert three.notes["steps"] == 36


def test_starts_are_near_the_picture():
    images, g = picture(STYLE, 2, seed=900), STYLE
    drawn = starts.samples(g, 16, 3, {})
    own = render(g, drawn[[7, 2]])
    look = starts.Look(g, Identity(), deep=False)
    (found,) = starts.best(look, own, drawn, 1, Told())
    assert torch.equal(found.values, drawn[[7, 2]].values)
    guess = starts.guess(look, "w", 300, {}, Told())
    made = render(g, starts.guessed(guess, look, images, "w", {}))
    assert psnr(made, images).mean() > psnr(render(g, starts.mean(g, 2, "w", {})), images).mean() + 1


def test_a_basin_is_found():
    pytest.importorskip("cma")
    images = picture(PLAIN)
    told = {"lpips": 0.0, "generations": 4, "population": 6, "inner": 5, "steps": 60}
    found = invert("basincma", PLAIN, images, **told)
    assert quality(PLAIN, found, images) > 25
    assert torch.equal(found.latents.values, invert("basincma", PLAIN, images, **told).latents.values)


def test_the_critic_of_a_generator_can_be_a_loss():
    class Critic(nn.Module):
        def features(self, x):
            return [x, nn.functional.avg_pool2d(x, 4)]

    g = TinyStyle()
    g.critic = Critic()
    images = picture(g)
    found = invert("optimize", g, images, critic=1.0, pixels=0.0, space="w", coordinates="plain", steps=80, **PIXELS)
    assert quality(g, found, images) >= 40
    with pytest.raises(SettingError, match="no critic whose features"):
        invert("optimize", STYLE, images, critic=1.0, **PIXELS)


def test_priors_pull_codes_in():
    images = picture(STYLE)
    told = {"steps": 25, **PIXELS}
    free = invert("optimize", STYLE, images, **told).latents.values
    held = {
        p: invert("optimize", STYLE, images, **told, **{p: 1.0}).latents.values for p in ("manifold", "prior", "near")
    }
    mean = starts.mean(STYLE, 1, "w+", {}).values
    assert all((v - mean).norm() < (free - mean).norm() for v in held.values())
    crossed = invert("optimize", STYLE, images, **told, cross=1.0).latents.values
    assert crossed.var(1).mean() < free.var(1).mean()


@pytest.mark.parametrize("name", SCHEDULES)
def test_steps_have_a_length_between_nothing_and_one(name):
    values = [SCHEDULES[name](i / 50) for i in range(50)]
    assert all(0 <= v <= 1 + 1e-9 for v in values)
    assert max(values) > 0.9


@pytest.mark.parametrize(
    ("g", "images", "settings", "error", "match"),
    [
        (STYLE, torch.full((1, 3, 16, 16), torch.nan), {}, SettingError, "no numbers"),
        (STYLE, torch.zeros(1, 3, 8, 8), {}, SettingError, "pictures of 16x16 px: 3x16x16 is expected; got 3x8x8"),
        (
            STYLE,
            torch.zeros(1, 3, 16, 16),
            {"observe": "downsample:4"},
            SettingError,
            "seen through downsample:4: 3x4x4",
        ),
        (STYLE, torch.zeros(0, 3, 16, 16), {}, SettingError, "no picture to invert"),
        (STYLE, torch.zeros(1, 3, 16, 16), {"space": "y"}, SpaceError, "no space 'y'"),
        (STYLE, torch.zeros(1, 3, 16, 16), {"pixels": 0.0}, SettingError, "no loss compares pictures"),
        (STYLE, torch.zeros(1, 3, 16, 16), {"label": 1}, SettingError, "has no classes"),
        (STYLE, torch.zeros(1, 3, 16, 16), {"cross": 1.0, "space": "w"}, SettingError, "rows of w"),
        (PLAIN, torch.ones(1, 3, 16, 16), NOWHERE, MethodFailed, "smaller rate"),
        (CLASS, torch.zeros(1, 3, 16, 16), {"space": "z"}, SettingError, "has 3 classes: give label=0 to 2"),
    ],
)
def test_bad_input_is_refused(g, images, settings, error, match):
    with pytest.raises(error, match=match):
        invert("optimize", g, images, **({"steps": 1} | PIXELS | settings))


def test_nobody_is_left_asking_for_gradients():
    weights = artifact.fingerprint(STYLE.net.state_dict())
    found = invert("optimize", STYLE, picture(STYLE), steps=3, noise="joint", **PIXELS)
    assert not any(t.requires_grad for t in (found.latents.values, *found.latents.inputs.values()))
    assert not any(p.requires_grad for p in STYLE.net.parameters())
    assert artifact.fingerprint(STYLE.net.state_dict()) == weights


@pytest.mark.weights("lpips")
def test_nets_as_losses_are_zero_at_the_target_and_lead_there():
    images = picture(STYLE)
    told = {"space": "w", "coordinates": "plain", "steps": 10, "pixels": 0.0, "lpips": 0.0}
    start = quality(STYLE, starts.mean(STYLE, 1, "w", {}), images)
    for part in ({"lpips": 1.0}, {"features": 1.0, "feature_layers": "vgg:conv1_2,conv3_2"}, {"style": 1.0}):
        found = invert("optimize", STYLE, images, **(told | part))
        assert quality(STYLE, found, images) > start
    with pytest.raises(SettingError, match="write vgg:conv1_1"):
        invert("optimize", STYLE, images, **told, features=1.0, feature_layers="vgg:conv9_9")


@pytest.mark.weights("identity-sface")
def test_the_identity_net_is_that_of_the_onnx_runtime():
    from steerable.nn.sface import WEIGHTS, SFace
    from steerable.score import onnx

    crops = torch.nn.functional.interpolate(
        torch.rand(2, 3, 14, 14, generator=torch.Generator().manual_seed(0)) * 255, size=112, mode="bilinear"
    )
    ours, theirs = SFace()(crops), onnx.net(*WEIGHTS)(crops)
    assert torch.allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))
