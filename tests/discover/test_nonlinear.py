"""The gradient of a net: on straight truth as good as a boundary, on bent truth better; conditions hold at every point."""

import pytest
import torch
from judged import Smooth, changes, leak

from planted import Factors, Planted
from steerable.discover import Boundary, NonLinear
from steerable.discover.locally import steepest
from steerable.errors import SettingError, SpaceError, UnknownName
from steerable.render import codes, render
from steerable.score import Scorer


class Bent(Scorer):
    """red, and how near left-right is to its mean, so that the gradient turns round there."""

    name, names, units = "bent", ("red", "near"), ("levels", "levels")

    def __init__(self, generator):
        self.middle = float(generator.moments("w").mean @ generator.truth("left-right"))

    def read(self, images):
        red, side = Smooth().read(images)[:, :2].T
        return torch.stack([red, -(side - self.middle).abs()], 1)


@pytest.fixture(scope="module")
def planted():
    return Planted()


@pytest.fixture(scope="module")
def straight(planted):
    return NonLinear(n=800, steps=400, hidden="32", conditions="all").discover(planted, supervision=Smooth())


def test_on_straight_truth_it_moves_the_factor_and_holds_the_others(planted, straight):
    for path in straight:
        change = changes(planted, [path.at(1.0)])
        own = straight.names.index(path.name)
        assert change[:, own].mean() > 0.5
        assert leak(change, path.name) < 0.35
        assert straight.notes["held-out R2"][path.name] > 0.8


def test_it_turns_where_the_truth_does(planted):
    scorer = Bent(planted)
    nets = NonLinear(n=800, steps=400, hidden="32").discover(planted, supervision=scorer)
    line = Boundary(n=800).discover(planted, supervision=scorer)
    before = scorer(render(planted, planted.lift(planted.sample(200, seed=80_000), "w")))[:, 1]
    far = before < before.median()
    gains = [changes(planted, [p["near"].at(0.5)], scorer, n=200)[far, 1] for p in (nets, line)]
    assert gains[0].mean() > 0.35
    assert (gains[0] > 0).float().mean() > 0.85
    assert gains[1].mean().abs() < 0.2  # a straight line goes wrong for every other one


def test_conditions_hold_at_every_point(planted, straight):
    path = straight["red"]
    w = planted.lift(planted.sample(5, seed=70), "w").values
    up = steepest(path.net, w, path.column, path.held)
    others = path.net.gradients(w, path.held)
    assert torch.allclose(up.norm(dim=1), torch.ones(5), atol=1e-5)
    assert (torch.einsum("nd,ncd->nc", up, others) / others.norm(dim=2)).abs().max() < 1e-4


def test_a_sample_moves_alike_whoever_is_beside_it(planted, straight):
    w = planted.lift(planted.sample(4, seed=70), "w")
    t = torch.tensor([0.0, -1.3, 0.4, 3.0])
    together = codes(planted, w, [straight[0].at(t)]).values
    assert torch.equal(together[0], w.values[0])
    for i in range(1, 4):
        alone = codes(planted, w[i], [straight[0].at(float(t[i]))]).values
        assert torch.allclose(together[i], alone[0], atol=1e-5)


def test_it_is_a_way_there_and_back(planted, straight):
    w = planted.lift(planted.sample(4, seed=70), "w")
    there = codes(planted, w, [straight[1].at(0.25)])
    back = codes(planted, there, [straight[1].at(-0.25)])
    assert (back.values - w.values).norm(dim=1).max() < 0.2 * (there.values - w.values).norm(dim=1).min()


def test_gradients_pass_through_the_edit(planted, straight):
    w = planted.lift(planted.sample(2, seed=70), "w")
    w = w.at(w.values.requires_grad_())
    render(planted, w, [straight[0].at(0.5)]).square().sum().backward()
    assert w.values.grad is not None
    assert w.values.grad.isfinite().all()
    assert w.values.grad.abs().sum() > 0


def test_what_cannot_be_is_refused(planted, straight):
    with pytest.raises(SpaceError, match="another one for each 'w' code, so it cannot be made on 'w\\+' codes"):
        codes(planted, planted.lift(planted.sample(1), "w+"), [straight[0].at(1)])
    with pytest.raises(SettingError, match="t has 3 values for 2 samples"):
        codes(planted, planted.sample(2), [straight[0].at(torch.ones(3))])
    with pytest.raises(SettingError, match="interfacegan-nonlinear learns from scores; pass supervision="):
        NonLinear().discover(planted)
    with pytest.raises(UnknownName, match="no score is called 'smile'"):
        NonLinear(learn="smile").discover(planted, supervision=Factors())
    with pytest.raises(UnknownName, match="no score is called 'smile'"):
        NonLinear(n=40, conditions="red,smile").discover(planted, supervision=Factors())
    with pytest.raises(SettingError, match="widths of hidden layers are whole numbers, such as 64,64; got 'wide'"):
        NonLinear(n=40, hidden="wide").discover(planted, supervision=Factors())
