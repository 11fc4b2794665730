"""Training: exact resume, several processes, and what goes wrong; nets of 16 px and few steps."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from steerable.errors import ArtifactError, MethodFailed, SettingError
from steerable.generators.stylegan2 import Config, Net, StyleGAN2
from steerable.record import tree_equal
from steerable.space import Latents
from steerable.train import gan, loop, planted
from steerable.train.augment import Augment
from steerable.train.beginning import fresh, training_form
from steerable.train.discriminator import Discriminator, spread

pytest.importorskip("lightning_fabric", reason="training needs the extra 'train'")

TOLD = planted.Planted(
    channels=(6, 6, 6),
    critic=(6, 6, 6),
    d=12,
    batch=4,
    images=48,
    adversarial_images=32,
    lazy=4,
    held_out=20,
    precision="32-true",
    every=16,
)
ALONE = gan.Natural(
    config=Config((6, 6, 6), z_dim=6, w_dim=8, depth=2, noise=True),
    critic=(6, 6, 6),
    batch=4,
    images=32,
    start=8,
    start_images=16,
    lazy=4,
    precision="32-true",
    every=8,
)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def pictures():
    """Pictures that two factors tell: one the level of red, one that of blue from left to right."""
    factors = torch.rand(80, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = torch.zeros(80, 3, 16, 16)
    images[:, 0] = factors[:, 0, None, None]
    images[:, 2] = factors[:, 1, None, None] * torch.linspace(-1, 1, 16)
    return ((images + 1) * 127.5).round().to(torch.uint8), factors


def dying(after: int):
    """A reporter that ends the run when that many reports came."""
    told = []

    def report(r):
        told.append(r)
        if len(told) == after:
            raise Killed

    return report


def test_a_planted_net_learns_its_factors(pictures, tmp_path):
    told = []
    recipe = replace(TOLD, images=1200, adversarial_images=0, every=600)
    net = planted.train(*pictures, tmp_path, recipe, accelerator="cpu", report=told.append)
    assert told[-1].images == 1200
    assert told[-1].numbers["psnr"] > 17
    assert told[-1].pictures.shape == (40, 3, 16, 16)
    g = StyleGAN2("two", net)
    red = torch.tensor([[-0.8, 0.0], [0.8, 0.0]]) @ planted.embedding(2, 12)
    made = g.synthesize(Latents(red, g.space("w"))).mean((2, 3))
    assert float(made[1, 0] - made[0, 0]) > 1
    assert float((made[1] - made[0])[1:].abs().max()) < 0.3


@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_a_killed_planted_run_goes_on_bit_by_bit(pictures, tmp_path, killed_after):
    whole = planted.train(*pictures, tmp_path / "whole", TOLD, accelerator="cpu")
    with pytest.raises(Killed):
        planted.train(*pictures, tmp_path / "cut", TOLD, accelerator="cpu", report=dying(killed_after))
    resumed = planted.train(*pictures, tmp_path / "cut", TOLD, accelerator="cpu")
    assert tree_equal(dict(whole.state_dict()), dict(resumed.state_dict()))


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_killed_natural_run_goes_on_bit_by_bit(pictures, tmp_path, killed_after):
    whole = gan.train(pictures[0], tmp_path / "whole", ALONE, accelerator="cpu")
    with pytest.raises(Killed):
        gan.train(pictures[0], tmp_path / "cut", ALONE, accelerator="cpu", report=dying(killed_after))
    resumed = gan.train(pictures[0], tmp_path / "cut", ALONE, accelerator="cpu")
    assert tree_equal(dict(whole.state_dict()), dict(resumed.state_dict()))
    assert whole.w_avg.abs().max() > 0
    assert StyleGAN2("natural", whole).sample(2).values.shape == (2, 6)


def test_a_larger_pair_begins_where_the_smaller_one_ended():
    class Here:
        device = torch.device("cpu")

    images = torch.zeros(8, 3, 16, 16, dtype=torch.uint8)
    small = gan.Duel(Here(), gan.shrunk(images, 8), ALONE.at(8, 16))
    large = gan.Duel(Here(), images, replace(ALONE, seed=9))
    large.grow(small)
    assert torch.equal(large.net.b8.conv1.weight, small.net.b8.conv1.weight)
    assert torch.equal(large.critic.blocks["8"].skip, small.critic.blocks["8"].skip)
    a, b = training_form(small.net, "32-true"), training_form(large.net, "32-true")
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    x, y = (g.synthesize(Latents(z, g.space("z")), grad=False) for g in (a, b))
    shrunk = torch.nn.functional.avg_pool2d(y, 2)
    assert float((shrunk - x).square().mean() / x.square().mean()) < 0.25


@pytest.mark.slow
def test_two_processes_make_what_one_makes(pictures, tmp_path):
    script = tmp_path / "run.py"
    torch.save(pictures, tmp_path / "pictures.pt")
    script.write_text(
        "import sys, torch\n"
        "from dataclasses import replace\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_training import TOLD\n"
        "from steerable.train import planted\n"
        "torch.set_num_threads(1)\n"
        "if __name__ == '__main__':\n"
        "    folder, devices = sys.argv[1], int(sys.argv[2])\n"
        "    recipe = replace(TOLD, adversarial_images=0)\n"
        "    images, factors = torch.load(folder + '/pictures.pt', weights_only=True)\n"
        "    net = planted.train(images, factors, folder + f'/{devices}', recipe, accelerator='cpu', devices=devices)\n"
        "    torch.save(net.state_dict(), folder + f'/net{devices}.pt')\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for command in ([sys.executable, script, tmp_path, "1"], [*torchrun, script, tmp_path, "2"]):
        done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (torch.load(tmp_path / f"net{n}.pt", weights_only=True) for n in (1, 2))
    for name, t in one.items():
        torch.testing.assert_close(two[name], t, atol=1e-3, rtol=1e-3, msg=lambda m, name=name: f"{name}: {m}")


def test_files_of_another_recipe_or_damaged_ones_are_refused(pictures, tmp_path):
    planted.train(*pictures, tmp_path, TOLD, accelerator="cpu")
    with pytest.raises(ArtifactError, match=r"begun with rate=0\.007; go on with these, or choose another folder"):
        planted.train(*pictures, tmp_path, replace(TOLD, rate=1e-3), accelerator="cpu")
    file = tmp_path / "regression" / loop.SAVED
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="not a training file that can be read"):
        planted.train(*pictures, tmp_path, TOLD, accelerator="cpu")


def test_a_full_disk_leaves_the_last_file_whole(pictures, tmp_path, monkeypatch):
    with pytest.raises(Killed):
        planted.train(*pictures, tmp_path, TOLD, accelerator="cpu", report=dying(1))
    file = tmp_path / "regression" / loop.SAVED
    before = file.read_bytes()

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ArtifactError, match="No space left on device; nothing was left behind"):
            planted.train(*pictures, tmp_path, TOLD, accelerator="cpu")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_run_that_blows_up_says_so_and_keeps_no_file_of_it(pictures, tmp_path):
    with pytest.raises(MethodFailed, match="the loss became nan after"):
        planted.train(*pictures, tmp_path, replace(TOLD, rate=1e30), accelerator="cpu")
    assert not list((tmp_path / "regression").iterdir())


def test_settings_that_do_not_fit(pictures, tmp_path):
    images, factors = pictures
    with pytest.raises(SettingError, match=r"make pictures \[n, 3, 32, 32\]; got"):
        planted.train(images, factors, tmp_path, replace(TOLD, channels=(6, 6, 6, 6)), accelerator="cpu")
    with pytest.raises(SettingError, match="batch 4 needs as many pictures beside the 79 held out"):
        planted.train(images, factors, tmp_path, replace(TOLD, held_out=79), accelerator="cpu")
    with pytest.raises(SettingError, match="power of two from 4 to 8 px; got 16"):
        gan.train(images, tmp_path, replace(ALONE, start=16), accelerator="cpu")


def test_first_weights():
    config = Config((6, 6), z_dim=6, w_dim=8, depth=2, mapping_lr=0.01)
    net = fresh(Net(config), 0)
    assert torch.equal(net.b8.conv0.affine.bias, torch.ones(6))
    assert torch.equal(net.b8.conv0.bias, torch.zeros(6))
    assert float(net.b4.conv1.strength.detach()) == 0
    assert float(net.mapping.layers[1].weight.detach().std()) == pytest.approx(100, rel=0.3)
    assert float(net.b8.conv0.weight.detach().std()) == pytest.approx(1, rel=0.1)
    assert torch.equal(net.const, fresh(Net(config), 0).const)
    assert not torch.equal(net.const, fresh(Net(config), 1).const)


def test_training_form_leaves_the_net_trainable():
    net = fresh(Net(Config((6, 6), z_dim=6, w_dim=8, depth=2, noise=False)), 0)
    g = training_form(net, "bf16-mixed")
    w = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    image = g.synthesize(Latents(w, g.space("w")), grad=True)
    image.sum().backward()
    trained = {n for n, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {n for n, _ in net.named_parameters() if not n.startswith("mapping")} == trained


def test_averaged_weights_halve_after_the_half_life():
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    average = loop.Average(net, half_life=100)
    torch.nn.init.ones_(net.weight)
    for shown in range(100_000, 100_100, 10):
        average.update(net, shown, 10)
    assert float(average.net.weight.detach()) == pytest.approx(0.5, abs=1e-5)
    assert not average.net.weight.requires_grad


def test_the_rate_warms_up_and_ends_at_zero():
    assert loop.cosine(0, 1000, warm=100) == pytest.approx(0.01, rel=1e-3)
    assert loop.cosine(500, 1000, warm=100) == pytest.approx(0.5)
    assert loop.cosine(1000, 1000) == pytest.approx(0)


def test_spread_is_that_of_the_groups():
    same = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).expand(8, -1, -1, -1)
    assert spread(same).abs().max() < 1e-3
    signs = torch.tensor([1.0, -1.0] * 4)[:, None, None, None].expand(8, 4, 2, 2)
    torch.testing.assert_close(spread(signs), torch.ones(8, 1, 2, 2))
    assert spread(signs[:7]).shape == (7, 1, 2, 2)


def test_the_critic_can_be_differentiated_twice():
    critic = fresh(Discriminator((6, 6, 6)), 0)
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert critic.blocks["16"].conv0.weight.grad.abs().sum() > 0


def test_augmentation_follows_the_critic():
    augment, x = Augment(), torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert augment(x, torch.Generator().manual_seed(1)) is x
    augment.adapt(torch.ones(4), 100_000)
    assert float(augment.p) == pytest.approx(0.2)
    changed = augment(x, torch.Generator().manual_seed(1))
    untouched = (changed - x).abs().amax((1, 2, 3)) < 1e-5
    assert changed.shape == x.shape
    assert torch.equal(changed, augment(x, torch.Generator().manual_seed(1)))
    assert not untouched.all()
    augment.adapt(torch.tensor([1.0, -1.0]), 200_000)
    assert float(augment.p) == 0


def test_augmentation_is_identity_where_nothing_is_drawn():
    augment, x = Augment(), torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    augment.p.fill_(1e-9)
    torch.testing.assert_close(augment(x, torch.Generator().manual_seed(1)), x, atol=1e-5, rtol=0)
