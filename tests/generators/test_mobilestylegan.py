"""MobileStyleGAN: its fold, its strips and its previews are one function; the downloaded one is the network it was made from.

data/mobilestylegan.npz was made by hand. An interpreter that runs the two networks operation by operation (within 3e-5 of OpenVINO in
float32) was given z = RandomState(k).randn(512), k = 0 and 1, as float32: `w`. `truncated` = mean + 0.7 (w - mean), mean that of the w of
RandomState(123).randn(4096, 512). Of the two pictures, `means` holds the means over 32x32 px, and `pixels` what is at 64 `places`.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from steerable import catalogue, checkpoints
from steerable.edit import LatentEdit, Noise, OnLayers
from steerable.errors import ArtifactError, SpaceError
from steerable.generators import mobilestylegan
from steerable.generators.mobilestylegan import Config, fit_heads, untrained
from steerable.layer import State
from steerable.lending import Stopped
from steerable.nn.wavelets import haar_up, haar_up_
from steerable.render import render
from steerable.renderer import Renderer
from steerable.space import Latents

SMALL = Config(d=16, depth=2, widths=(16, 16, 8, 8))  # 64 px, 8 layers
WIDE = Config(d=16, depth=1, widths=(64, 64, 64, 32, 32))  # 128 px; large enough for the fast convolutions


@pytest.fixture(scope="module")
def small():
    return untrained(SMALL)


@pytest.fixture(scope="module")
def exact(small):
    return small.to(dtype=torch.float64)


@pytest.fixture(scope="module", params=[SMALL, WIDE], ids=["64px", "128px"])
def g(request):
    return untrained(request.param)


def styles(g, n=1, seed=0):
    return g.lift(g.sample(n, seed=seed), "s")


def states(g, latents, grad=False):
    """The states before each layer, and the last."""
    return [g.start(latents), *(state for _, state in g.states(latents, grad=grad))]


def folded(g, latents):
    return g.finish(states(g, latents)[-1], latents)


class Shift(LatentEdit):
    def acts_in(self, generator):
        return "w"

    def latents(self, latents, generator):
        return latents.moved(torch.full_like(latents.values, 0.3))


# -- the chain ------------------------------------------------------------------------------------------------------------------------


def test_every_layer_has_a_row_and_a_slice_of_its_own(small):
    assert [layer.row for layer in small.layers] == list(range(8))
    assert [layer.name for layer in small.layers] == [
        "conv4",
        "up8",
        "conv8",
        "up16",
        "conv16",
        "up32",
        "conv32",
        "rgb",
    ]
    ends = [0, *(layer.style.stop for layer in small.layers)]
    assert [layer.style.start for layer in small.layers] == ends[:-1]
    assert small.space("s").shape == (ends[-1],) == styles(small).values.shape[1:]
    assert small.size == (64, 64)
    assert small.pick("32px") == (5, 6)


def test_affines_are_the_maps_out_of_w(exact):
    w = exact.lift(exact.sample(2), "w")
    step = torch.randn_like(w.values)
    moved = exact.lift(w.moved(step), "s").values - exact.lift(w, "s").values
    matrix = torch.cat(list(exact.affines("w+").values()))
    torch.testing.assert_close(moved, step @ matrix.T)
    with pytest.raises(SpaceError, match="'w' and 'w\\+', not out of 's'"):
        exact.affines("s")


def test_codes_are_normalized_before_the_mapping(small):
    z = small.sample(1)
    scaled = z.at(z.values * 3)
    torch.testing.assert_close(small.lift(z, "w").values, small.lift(scaled, "w").values)


# -- the wavelet ----------------------------------------------------------------------------------------------------------------------


def test_haar_up_is_twice_an_orthogonal_transform():
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    y = haar_up(x)
    assert y.shape == (2, 2, 6, 10)
    torch.testing.assert_close(y.square().sum(), 4 * x.square().sum())
    torch.testing.assert_close(F.avg_pool2d(y, 2), x[:, :2])  # the first band is the area mean
    horizontal = torch.zeros(1, 4, 1, 1)
    horizontal[:, 1] = 1
    assert haar_up(horizontal)[0, 0].tolist() == [[1, -1], [1, -1]]


def test_haar_up_in_place_is_the_same():
    x, s = torch.randn(1, 8, 3, 5).contiguous(memory_format=torch.channels_last), torch.randn(1, 8)
    assert torch.equal(haar_up_(x, s), haar_up(x * s[:, :, None, None]))


# -- one function -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 5, 16, 64])
def test_strips_of_any_height_give_the_fold_bit_by_bit(g, monkeypatch, rows):
    latents = styles(g)
    before = states(g, latents)
    monkeypatch.setattr(mobilestylegan, "ROWS", rows)
    monkeypatch.setattr(mobilestylegan, "WHOLE", 0)
    assert all(torch.equal(a.x, b.x) for a, b in zip(before, states(g, latents), strict=True))
    for i in (0, g.deep, g.deep + 1, len(g.layers) - 1, len(g.layers)):
        assert torch.equal(g.tail(i, before[i], latents), g.finish(before[-1], latents)), i


def test_a_batch_gives_its_pictures(g):
    latents = styles(g, 3)
    together = g.synthesize(latents)
    assert torch.equal(together, folded(g, latents))
    for k in range(3):
        torch.testing.assert_close(together[k : k + 1], g.synthesize(latents[k]), rtol=1e-4, atol=1e-4)


def test_several_threads_give_the_same_picture(g, monkeypatch):
    monkeypatch.setattr(mobilestylegan, "WHOLE", 0)
    latents = styles(g, 2)
    alone = g.synthesize(latents)
    try:
        torch.set_num_threads(2)
        assert torch.equal(g.tail(0, g.start(latents), latents), alone)
        with ThreadPoolExecutor(1) as pool:  # a thread that begins later is not bound to one either
            assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("n", [1, 2])
def test_the_two_executors_agree(small, exact, n):
    for g, tolerance in ((small, 1e-4), (exact, 1e-12)):
        latents = styles(g, n)
        torch.testing.assert_close(
            g.synthesize(latents, grad=True), g.synthesize(latents, grad=False), rtol=tolerance, atol=tolerance
        )


def test_states_are_never_written_to(g):
    latents = styles(g)
    before = states(g, latents)
    kept = [state.x.clone() for state in before]
    for i in range(len(g.layers)):
        g.layer(i, before[i], latents, grad=False)
        g.tail(i, before[i], latents)
        with torch.no_grad():
            g.coarse(i, before[i], latents)
    assert all(torch.equal(state.x, copy) for state, copy in zip(before, kept, strict=True))


def test_states_of_any_memory_layout_do(small):
    latents = styles(small)
    before = states(small, latents)[small.deep]
    plain = State(before.x.contiguous(memory_format=torch.contiguous_format).clone())
    assert torch.equal(small.tail(small.deep, plain, latents), folded(small, latents))


def test_stop_is_asked_between_strips(small, monkeypatch):
    monkeypatch.setattr(mobilestylegan, "ROWS", 8)
    monkeypatch.setattr(mobilestylegan, "WHOLE", 31)
    latents = styles(small)
    asked = []
    stop = lambda: asked.append(1) or len(asked) > small.deep + 2  # of four strips
    with pytest.raises(Stopped, match="was stopped"):
        small.synthesize(latents, stop=stop)
    assert len(asked) == small.deep + 3
    try:
        torch.set_num_threads(2)
        with pytest.raises(Stopped):
            small.synthesize(latents, stop=lambda: True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_the_renderer_resumes_exactly(g):
    z, r = g.sample(1), Renderer(g)
    for rows in ("0", "3", "4", "7", "1", "5-7"):
        edits = [OnLayers(Shift(), rows)]
        assert torch.equal(r(z, edits), render(g, z, edits)), rows
    for size in (8, 16, 32):
        assert r(z, [OnLayers(Shift(), "2")], size=size).shape == (1, 3, size, size)


# -- derivatives ------------------------------------------------------------------------------------------------------------------------


def test_derivatives_of_every_mode_agree(exact):
    s = styles(exact)
    f = lambda v: exact.synthesize(s.at(v[None]))[0].flatten()
    v, directions = s.values[0], torch.randn(3, *s.values.shape[1:], dtype=torch.float64)
    forward = torch.func.vmap(lambda d: torch.func.jvp(f, (v,), (d,))[1])(directions)
    one = torch.func.jvp(f, (v,), (directions[0],))[1]
    torch.testing.assert_close(forward[0], one)
    e = 1e-6
    torch.testing.assert_close(
        (f(v + e * directions[0]) - f(v - e * directions[0])) / (2 * e), one, rtol=1e-4, atol=1e-6
    )
    weights = torch.randn_like(one)
    (backward,) = torch.func.vjp(f, v)[1](weights)
    torch.testing.assert_close(forward @ weights, directions @ backward)


def test_gradients_reach_every_weight_that_is_lent(small):
    weights = {name: p.detach().clone().requires_grad_() for name, p in small.net.named_parameters()}
    lent = small.lent(weights)
    lent.synthesize(lent.sample(2)).square().mean().backward()
    dead = [name for name, p in weights.items() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []
    assert not any(p.requires_grad for p in small.net.parameters())


def test_lent_weights_change_the_picture_and_its_preview(small):
    latents = styles(small)
    lent = small.lent({"layers.6.noise": torch.zeros_like(small.net.layers[6].noise)})
    state = states(small, latents)[5]
    with torch.no_grad():
        assert not torch.equal(lent.synthesize(latents), small.synthesize(latents))
        assert not torch.equal(lent.coarse(5, state, latents), small.coarse(5, state, latents))


# -- inputs -----------------------------------------------------------------------------------------------------------------------------


def test_noise_is_an_input_of_unit_size(small):
    latents = styles(small, 2)
    assert small.inputs["noise.conv32"] == (1, 32, 32)
    own = {
        f"noise.{layer.name}": part.noise.expand(2, -1, -1, -1)
        for layer, part in zip(small.layers, small.net.styled, strict=True)
        if layer.reads
    }
    assert own.keys() == small.inputs.keys()
    assert torch.equal(small.synthesize(Latents(latents.values, latents.space, own)), small.synthesize(latents))
    plain, silent = render(small, latents), render(small, latents, [Noise("none")])
    noisy = render(small, latents[[0, 0]], [Noise("random", seed=1)])
    assert not torch.equal(plain, silent)
    assert not torch.equal(noisy[0], noisy[1])
    quiet = small.lent({f"layers.{i}.strength": torch.zeros(()) for i in range(7)})
    torch.testing.assert_close(quiet.synthesize(latents), silent)


# -- previews ---------------------------------------------------------------------------------------------------------------------------


def test_the_preview_at_half_size_is_exact(g):
    latents, last = styles(g, 2), len(g.layers) - 1
    with torch.no_grad():
        preview = g.coarse(last, states(g, latents)[last], latents)
    torch.testing.assert_close(preview, F.avg_pool2d(g.synthesize(latents), 2), rtol=1e-4, atol=1e-5)


def test_a_layer_that_is_not_reduced_is_itself(exact):
    latents, before = styles(exact), states(exact, styles(exact))
    with torch.no_grad():
        for i in (2, 4, 6):
            torch.testing.assert_close(
                exact.net.styled[i].coarse(before[i].x, *exact._owns(i, latents)), before[i + 1].x
            )


def test_previews_obey_every_row(small):
    w = small.lift(small.sample(1), "w+")
    for i in (1, 3, 5, 7):
        state = states(small, small.lift(w, "s"))[i]
        with torch.no_grad():
            plain = small.coarse(i, state, small.lift(w, "s"))
            for row in range(i, 8):
                move = torch.zeros_like(w.values)
                move[:, row] = 0.5
                assert not torch.allclose(small.coarse(i, state, small.lift(w.moved(move), "s")), plain), (i, row)


def test_previews_obey_both_scales_of_an_up_layer(small):
    latents = styles(small)
    for i in (1, 3, 5):
        state, (at, split) = states(small, latents)[i], (small.layers[i].style.start, small.net.styled[i].split)
        for column in (at, at + split):  # in front of the Haar transform, and behind it
            moved = latents.values.clone()
            moved[:, column] += 1
            with torch.no_grad():
                plain, edited = small.coarse(i, state, latents), small.coarse(i, state, latents.at(moved))
            assert not torch.allclose(plain, edited), (i, column)


def test_previews_of_a_batch_and_of_its_pictures_agree(exact):
    latents = styles(exact, 2)
    for i in (0, 2, 3, 4, 5, 7):
        with torch.no_grad():
            both = exact.coarse(i, states(exact, latents)[i], latents)
            each = [exact.coarse(i, states(exact, latents[k])[i], latents[k]) for k in (0, 1)]
        assert both.shape[-1] == states(exact, latents)[i].x.shape[-1]
        torch.testing.assert_close(both, torch.cat(each))


def test_previews_have_gradients(exact):
    latents = styles(exact)
    state, v = states(exact, latents)[3], latents.values.clone().requires_grad_()
    (there,) = torch.autograd.grad(exact.coarse(3, state, latents.at(v)).square().sum(), v)
    touched = [there[:, layer.style].abs().max() > 0 for layer in exact.layers]
    assert touched == [False] * 3 + [True] * 5


def test_fitted_heads_bring_previews_closer_and_are_kept():
    g = untrained(SMALL, seed=3)
    latents = [g.lift(g.truncate(z, 0.8), "s") for z in (g.sample(1, seed=k) for k in range(2))]

    def errors(g):
        found = []
        for i in g.previews:
            state = [states(g, each)[i] for each in latents]
            truth = [
                F.adaptive_avg_pool2d(g.synthesize(each), s.x.shape[-1]) for each, s in zip(latents, state, strict=True)
            ]
            with torch.no_grad():
                near = [g.coarse(i, s, each) for each, s in zip(latents, state, strict=True)]
            found.append(sum(float((a - b).square().mean()) for a, b in zip(near, truth, strict=True)))
        return found

    before = errors(g)
    heads = fit_heads(g, n=12)
    assert set(heads.maps) == {"1", "3", "5"}
    after = errors(g)
    assert all(a < b for a, b in zip(after, before, strict=True))
    assert errors(untrained(SMALL, seed=3)) == after  # found in the cache
    assert errors(untrained(SMALL, seed=4)) != after  # of other weights


def test_the_bfloat16_twin_is_near_and_shares_the_rest():
    g = untrained(WIDE, seed=1)
    half, latents = g.half(), styles(g)
    assert half.net.layers[-1].weight.dtype is torch.bfloat16
    assert half.net.mapping[0].weight is g.net.mapping[0].weight
    assert half.fingerprint == g.fingerprint
    picture, near = g.synthesize(latents), half.synthesize(latents)
    assert near.dtype is torch.float32
    assert 0 < (near - picture).square().mean().sqrt() < 0.02 * picture.square().mean().sqrt()
    assert torch.equal(folded(half, latents), near)


# -- files ------------------------------------------------------------------------------------------------------------------------------


def test_files_that_are_missing_or_of_another_network_are_named(tmp_path):
    entry = catalogue.entry("ffhq-1024")
    with pytest.raises(
        ArtifactError, match=r"ffhq-1024: MappingNetwork.xml and its .bin are needed; there is: nothing"
    ):
        checkpoints.catalogued(entry, {})
    files = {}
    for part in ("Mapping", "Synthesis"):
        files[f"{part}Network.xml"], files[f"{part}Network.bin"] = tmp_path / f"{part}.xml", tmp_path / f"{part}.bin"
        files[f"{part}Network.xml"].write_text(
            '<net version="10"><layers><layer id="0" name="c" type="Const">'
            '<data element_type="f32" offset="0" shape="1" size="4"/></layer></layers><edges/></net>'
        )
        files[f"{part}Network.bin"].write_bytes(bytes(4))
    with pytest.raises(ArtifactError, match="ffhq-1024: these are not the networks of MobileStyleGAN"):
        checkpoints.catalogued(entry, files)


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).parents[1] / "data" / "mobilestylegan.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.mark.weights("ffhq-1024")
def test_faces_are_those_of_the_reference(reference):
    entry = catalogue.entry("ffhq-1024")
    g = checkpoints.catalogued(entry, catalogue.fetch(entry.name)).generator(entry.name)
    assert g.fingerprint.startswith("b75e52bcf231")
    torch.testing.assert_close(g.lift(g.sample(2, seed=0), "w").values, reference["w"], rtol=0, atol=1e-5)
    for k in range(2):
        picture = g.synthesize(Latents(reference["truncated"][k : k + 1], g.space("w")))
        means = F.avg_pool2d(picture, 32)[0].permute(1, 2, 0)
        torch.testing.assert_close(means, reference["means"][k], rtol=0, atol=1e-4)
        rows, columns = reference["places"].long().T
        torch.testing.assert_close(picture[0, :, rows, columns].T, reference["pixels"][k], rtol=0, atol=1e-4)
