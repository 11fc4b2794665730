import math

import pytest
import torch

from steerable.score.crop import similarity, warp
from steerable.score.face import Face, pose, scores
from steerable.score.landmarks import Mesh
from steerable.score.regions import drawn


def turned(points, yaw=0.0, pitch=0.0, roll=0.0, scale=30.0, shift=(400.0, 500.0, 7.0)):
    """Points of a face (x right, y up, z to the viewer) as the net sees them: turned up, then to the right; y down, z away."""
    a, b, c = (torch.tensor(math.radians(angle), dtype=torch.float64) for angle in (yaw, pitch, roll))
    one, zero = torch.ones(()), torch.zeros(())

    def matrix(*rows):
        return torch.tensor([[float(v) for v in row] for row in rows], dtype=torch.float64)

    right = matrix((a.cos(), zero, a.sin()), (zero, one, zero), (-a.sin(), zero, a.cos()))
    up = matrix((one, zero, zero), (zero, b.cos(), b.sin()), (zero, -b.sin(), b.cos()))
    tilt = matrix((c.cos(), -c.sin(), zero), (c.sin(), c.cos(), zero), (zero, zero, one))
    points = torch.cat([points, torch.zeros(10, 3, dtype=points.dtype)])  # the irises, which are not in the mean face
    seen = points @ (right @ up @ tilt).T * scale
    return (seen * torch.tensor([1, -1, -1]) + torch.tensor(shift))[None]


def read(points, canon):
    found = torch.ones(len(points), dtype=torch.float64)
    return dict(zip(Face.names, scores(Mesh(points, found), canon)[0].tolist(), strict=True))


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (25, 0, 0), (-40, 10, 5), (12, -20, -8)])
def test_pose_is_recovered_in_degrees(canon, yaw, pitch, roll):
    seen = turned(canon.points, yaw, pitch, roll)
    told = pose(seen, canon)
    assert told.yaw.item() == pytest.approx(yaw, abs=1e-6)
    assert told.pitch.item() == pytest.approx(pitch, abs=1e-6)
    assert torch.allclose(told.still[0, 1:468] - told.still[0, :1], canon.points[1:] - canon.points[:1], atol=1e-9)


def test_positive_yaw_is_a_nose_to_the_right_and_positive_pitch_a_nose_up(canon):
    nose, eyes = 4, [33, 133, 362, 263]
    for yaw, pitch in ((20, 0), (0, 20)):
        seen = turned(canon.points, yaw, pitch)
        move = (
            seen[0, nose]
            - seen[0, eyes].mean(0)
            - (turned(canon.points)[0, nose] - turned(canon.points)[0, eyes].mean(0))
        )
        told = read(seen, canon)
        if yaw:
            assert told["yaw"] > 19
            assert move[0] > 10  # x grows to the right
        else:
            assert told["pitch"] > 19
            assert move[1] < -10  # y grows downwards


def test_a_turned_head_keeps_its_expression(canon):
    front, side = read(turned(canon.points), canon), read(turned(canon.points, 35, -15, 10, scale=3.0), canon)
    for name in set(Face.names) - {"yaw", "pitch"}:
        assert side[name] == pytest.approx(front[name], abs=1e-9)


@pytest.mark.parametrize(
    ("name", "points", "move"),
    [
        ("smile", (291,), (0.8, 0, 0)),
        ("smile", (61, 291), (0, 0.5, 0)),
        ("mouth-open", (14,), (0, -1, 0)),
        ("eyes-open", (159, 386), (0, 0.4, 0)),
        ("brow-raise", (105, 66, 107, 334, 296, 336), (0, 0.5, 0)),
    ],
)
def test_each_score_rises_with_its_own_movement_alone(canon, name, points, move):
    moved = canon.points.clone()
    moved[list(points)] += torch.tensor(move, dtype=torch.float64)
    before, after = read(turned(canon.points, 10), canon), read(turned(moved, 10), canon)
    assert after[name] > before[name] + 0.02
    assert all(after[other] == pytest.approx(before[other], abs=1e-9) for other in Face.names if other != name)


def test_smile_is_width_plus_twice_the_lift(canon):
    p = canon.points
    between = (p[[33, 133]].mean(0) - p[[263, 362]].mean(0)).norm()
    expected = ((p[61] - p[291]).norm() + 2 * (p[[61, 291], 1].mean() - p[164, 1])) / between
    assert read(turned(p, 5, 5), canon)["smile"] == pytest.approx(expected.item(), abs=1e-9)


def test_a_polygon_is_drawn_with_soft_edges_to_a_quarter_of_a_pixel():
    box = torch.tensor([[2.25, 3.0], [6.25, 3.0], [6.25, 5.5], [2.25, 5.5]])
    mask = drawn([box], (8, 10))
    assert mask.shape == (8, 10)
    assert mask[3, 3:6].tolist() == [1, 1, 1]
    assert mask[4, 2] == pytest.approx(0.75, abs=0.26)
    assert mask.sum() == pytest.approx(4 * 2.5, abs=1.6)
    assert mask[:3].sum() == mask[6:].sum() == 0


def test_polygons_unite_and_are_cut_at_the_border():
    box = torch.tensor([[0.0, 0.0], [4, 0], [4, 4], [0, 4]])
    assert torch.equal(drawn([box, box], (4, 4)), torch.ones(4, 4))
    assert torch.equal(drawn([box - 2, box + 20], (8, 8))[:2, :2], torch.ones(2, 2))
    assert drawn([box + 20], (8, 8)).sum() == 0
    assert drawn([box - 30], (8, 8)).sum() == 0


def test_similarity_recovers_scale_turn_and_shift():
    template = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    c, s = 3 * math.cos(0.4), 3 * math.sin(0.4)
    matrix = torch.tensor([[c, -s, 7.0], [s, c, -2.0]], dtype=torch.float64)
    points = template @ matrix[:, :2].T + matrix[:, 2]
    assert torch.allclose(similarity(points[None], template)[0], matrix)


def test_warp_copies_shifts_and_averages():
    x = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(warp(x, torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]), 12), x, atol=1e-6)
    assert torch.allclose(warp(x, torch.tensor([[[1.0, 0, 4], [0, 1, 3]]]), 6), x[:, :, 3:9, 4:10], atol=1e-6)
    small = warp(x, torch.tensor([[[6.0, 0, 0], [0, 6, 0]]]), 2)
    assert small.mean() == pytest.approx(x.mean().item(), abs=0.02)
    assert small.std() < 0.5 * x.std()


def test_gradients_pass_through_a_warp():
    x = torch.rand(1, 3, 12, 12, requires_grad=True)
    warp(x, torch.tensor([[[2.0, 0.3, 0], [-0.3, 2, 1]]]), 5).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
