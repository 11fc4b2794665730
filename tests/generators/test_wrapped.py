"""A module of one's own as a generator: what is found in it, that it is run exactly, that it is left alone, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from steerable.discover import discover
from steerable.edit import FeatureEdit, Truncate
from steerable.errors import SettingError, SpaceError, UnknownName
from steerable.generators.wrapped import wrap
from steerable.layer import State
from steerable.render import render


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def body(z=9):
    return nn.Sequential(
        nn.ConvTranspose2d(z, 8, 4),
        nn.BatchNorm2d(8),
        nn.ReLU(True),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(8, 6, 3, padding=1),
        nn.Dropout(0.5),
        nn.ReLU(True),
        nn.Conv2d(6, 3, 3, padding=1),
        nn.Tanh(),
    )


class Around(nn.Module):
    """A module around others; `how` says what its forward does."""

    def __init__(self, how=lambda self, z: self.main(z), **parts):
        super().__init__()
        self.how = how
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, z):
        return self.how(self, z)


def names(g):
    return [layer.name for layer in g.layers]


def same(g, module, n=3):
    """Are the pictures those of the module?"""
    z = g.sample(n)
    module.eval()
    with torch.no_grad():
        assert torch.allclose(g.synthesize(z), module(z.values.view(n, *g.code_shape)).expand(-1, 3, -1, -1), atol=1e-6)
    return g


def test_the_parts_of_a_sequential_are_found():
    g = wrap(body(), 9)
    assert names(g) == ["module.3", "module.6", "module.8"]
    assert [layer.size for layer in g.layers] == [(8, 8), (8, 8), (8, 8)]
    module = Around(main=body())
    assert names(same(wrap(module, 9), module)) == ["main.3", "main.6", "main.8"]
    assert g.pick("0-1") == (0, 1)  # numbers count layers where there are no rows


def test_layers_named_are_where_it_is_cut():
    module = Around(main=body())
    g = same(wrap(module, (9, 1, 1), layers=["main.4", "main.1"]), module)
    assert names(g) == ["main.1", "main.4", "main.8"]
    z = g.sample(1)
    state = dict(zip(names(g), [s for _, s in g.states(z)], strict=True))["main.1"]
    module.eval()
    with torch.no_grad():
        close = module.main[:2](z.values[:, :, None, None])
    assert torch.allclose(state.x, close, atol=1e-6)

    class Nothing(FeatureEdit):
        layers = "main.1"

        def features(self, state, latents, again):
            return State(state.x * 0), latents

    with torch.no_grad():
        want = module.main[2:](torch.zeros(1, 8, 4, 4))
    assert torch.allclose(render(g, z, [Nothing()]), want, atol=1e-6)


def test_the_module_is_left_alone_and_shares_its_weights():
    module = Around(main=body()).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    g = wrap(module, 9)
    z = g.sample(2)
    picture = g.synthesize(z)
    assert all(m.training for m in module.modules())
    assert all(p.requires_grad for p in module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert not any(p.requires_grad for p in g.net.parameters())
    assert torch.equal(g.synthesize(z), picture)  # no dropout, no statistics of the batch
    with torch.no_grad():
        module.main[4].weight.mul_(2)
    assert not torch.equal(g.synthesize(z), picture)


def test_a_residual_way_around_a_part_makes_no_cut_there():
    def how(self, z):
        x = self.first(z).view(-1, 4, 4, 4)
        for block in self.blocks:
            x = x + block(x)
        return self.head(F.interpolate(x, scale_factor=2.0)).tanh()

    blocks = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
    module = Around(how, first=nn.Linear(6, 64), blocks=blocks, head=nn.Conv2d(4, 3, 1))
    g = same(wrap(module, 6), module)
    assert names(g) == ["first", "output"]
    with pytest.raises(
        SettingError, match="what goes into 'blocks.0' is read again behind it, so it cannot be a layer"
    ):
        wrap(module, 6, layers=["first", "blocks.0", "head"])


def test_a_code_read_in_several_places_has_rows():
    def how(self, z):
        x = self.first(z).view(-1, 4, 4, 4)
        x = self.conv(x) * self.gain(z)[:, :, None, None]
        return self.head(torch.relu(x)) + self.shift(z)[:, :, None, None]

    module = Around(
        how,
        first=nn.Linear(6, 64),
        conv=nn.Conv2d(4, 4, 3, padding=1),
        gain=nn.Linear(6, 4),
        head=nn.Conv2d(4, 3, 1),
        shift=nn.Linear(6, 3),
    )
    g = same(wrap(module, 6, layers=["first", "conv"]), module)
    assert [s.name for s in g.spaces] == ["z", "w+", "s"]
    assert g.space("w+").shape == (2, 6)
    assert [layer.row for layer in g.layers] == [0, None, 1]
    maps = g.affines("z")
    assert torch.equal(maps["first"], module.first.weight)
    assert torch.equal(maps["output"], torch.cat([module.gain.weight, module.shift.weight]))
    paths = discover("sefa", g, space="z", layers="1", k=2)
    assert len(paths) == 2


def test_maps_of_codes_are_found_in_modules_within_modules():
    inner = Around(
        lambda self, z: self.conv(self.flat(z).view(-1, 9, 1, 1)), flat=nn.Flatten(), conv=nn.ConvTranspose2d(9, 8, 4)
    )
    module = Around(lambda self, z: self.rest(self.inner(z)), inner=inner, rest=body()[1:])
    g = same(wrap(module, (9,), layers=()), module)
    assert names(g) == ["module"]
    weight = inner.conv.weight
    assert torch.allclose(g.affines("z")["module"], weight.flatten(1).T, atol=1e-6)
    blind = Around(lambda self, z: self.main((z * z)[:, :, None, None]), main=body())
    with pytest.raises(SpaceError, match="no nn.Linear and no convolution reads 'z' as it is"):
        wrap(blind, (9,)).affines("z")


def test_control_flow_within_a_layer_is_nobody_s_business():
    def depends(self, x):
        return self.conv(x) if float(x.sum()) > 0 else self.conv(x) * 2

    wild = Around(depends, conv=nn.Conv2d(8, 8, 3, padding=1))
    module = nn.Sequential(nn.ConvTranspose2d(9, 8, 4), wild, nn.Conv2d(8, 3, 1))
    assert names(same(wrap(module, 9), module, n=1)) == ["module.0", "module.1", "module.2"]
    around = Around(lambda self, z: self.main(z) if float(z.sum()) > 0 else -self.main(z), main=body())
    assert names(same(wrap(around, 9), around, n=1)) == ["module"]
    with pytest.raises(SettingError, match=r"what the module does cannot be told from outside .*it raised TypeError"):
        wrap(around, 9, layers=["main"])


def test_mapping_gives_w_and_truncation():
    mapping = nn.Sequential(nn.Linear(5, 9), nn.Tanh())
    g = wrap(body(), 5, mapping=mapping)
    z = g.sample(2)
    assert torch.allclose(g.lift(z, "w").values, mapping(z.values), atol=1e-6)
    assert torch.allclose(render(g, z, [Truncate(0.0)])[0], render(g, z, [Truncate(0.0)])[1], atol=1e-6)
    assert next(iter(g.affines("w").values())).shape == (8 * 16, 9)
    with pytest.raises(SpaceError, match="has maps out of 'w', not out of 'z'"):
        g.affines("z")


def test_ranges_and_single_colors():
    module = nn.Sequential(nn.ConvTranspose2d(4, 1, 4), nn.Sigmoid())
    g = wrap(module, 4, range=(0, 1))
    z = g.sample(2)
    with torch.no_grad():
        want = module(z.values[:, :, None, None]) * 2 - 1
    assert torch.allclose(g.synthesize(z), want.expand(-1, 3, -1, -1), atol=1e-6)
    with pytest.raises(SettingError, match="range is the lowest and the highest value"):
        wrap(module, 4, range=(1, 0))


def test_spectral_normalization_goes_along():
    module = nn.Sequential(
        nn.utils.spectral_norm(nn.ConvTranspose2d(4, 6, 4)),
        nn.ReLU(),
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(6, 3, 3)),
    )
    module(torch.randn(2, 4, 1, 1)).sum().backward()
    g = same(wrap(module, 4), module)
    assert g.to(dtype=torch.float64).synthesize(g.to(dtype=torch.float64).sample(1)).dtype == torch.float64


class Writes(nn.Module):
    """Changes a value in place and goes on with the old name, which a trace does not see."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 48), nn.Conv2d(3, 3, 1)

    def forward(self, z):
        x = self.first(z).view(-1, 3, 4, 4)
        x.add_(1)
        return self.second(x)


def test_what_cannot_be_wrapped_is_refused():
    with pytest.raises(UnknownName, match=r"no layer of this module is called 'mian\.1'; did you mean 'main\.1'"):
        wrap(Around(main=body()), 9, layers=["mian.1"])
    with pytest.raises(SettingError, match="each is to be run once, and none within another"):
        wrap(Around(main=body()), 9, layers=["main", "main.1"])
    with pytest.raises(SettingError, match="the module has no weights"):
        wrap(nn.Tanh(), 9)
    with pytest.raises(SettingError, match=r"the module raised RuntimeError: Given transposed=1"):
        wrap(body(), 8)
    with pytest.raises(SettingError, match=r"the module gives a tensor of the shape \(2, 7\); pictures are"):
        wrap(nn.Linear(9, 7), 9)
    with pytest.raises(SettingError, match=r"the module gives a tuple|a layer gives a tuple"):
        wrap(Around(lambda self, z: (self.main(z), z), main=body()), 9, layers=())
    with pytest.raises(SettingError, match="the module gives more than a picture"):
        wrap(Around(lambda self, z: (self.main(z), z), main=body()), 9, layers=["main.1"])
    with pytest.raises(SettingError, match="the module gives another picture: is it random"):
        wrap(Around(lambda self, z: self.main(z) + torch.randn(()), main=body()), 9, layers=["main.1"])
    with pytest.raises(SettingError, match="the module gives another picture"):
        wrap(Writes(), 4)
    assert wrap(Writes(), 4, layers=()).synthesize is not None
    with pytest.raises(SettingError, match=r"mapping is to give rows \[n w\]; it gave a tensor of the shape"):
        wrap(body(), 9, mapping=nn.ConvTranspose2d(9, 9, 2))
