import pytest

from steerable.errors import SettingError, UnknownName
from steerable.generators.stylegan2 import Config, random
from steerable.layer import columns, pick, rows


def test_numbers_count_rows_of_wplus(style):
    assert rows(style.layers, "0-1") == (0, 1)
    assert rows(style.layers, "2,0") == (0, 2)
    assert [style.layers[i].name for i in pick(style.layers, "1-2")] == ["conv1", "conv2"]
    assert [style.layers[i].name for i in pick(style.layers, "1-2", heads=True)] == [
        "head0",
        "conv1",
        "head1",
        "conv2",
        "head2",
    ]


def test_sizes_groups_and_names(style):
    assert rows(style.layers, "8-16px") == (1, 2)
    assert rows(style.layers, "coarse") == (0, 1)
    assert rows(style.layers, "middle") == (2,)
    assert rows(style.layers, "conv1") == (1,)
    assert pick(style.layers, "head1") == (3,)


def test_columns_hold_all_layers_of_a_row(style):
    # Row 1 feeds conv1 and the image head before it.
    by_name = {layer.name: layer.style for layer in style.layers}
    expected = [*range(*by_name["head0"].indices(999)), *range(*by_name["conv1"].indices(999))]
    assert list(columns(style.layers, "1")) == sorted(expected)
    assert list(columns(style.layers, "conv1")) == list(range(*by_name["conv1"].indices(999)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("0-9", "reaches past the last one; there are 3 rows: 0-2"),
        ("2-1", "runs backwards; write 1-2"),
        ("", "names nothing; write rows as 4-7"),
        ("512px", "names no layer; the sizes are 4, 8, 16 px"),
        ("fine", "names no layer"),
    ],
)
def test_what_does_not_exist_is_said(style, spec, message):
    with pytest.raises(SettingError, match=message):
        rows(style.layers, spec)


def test_a_wrong_name_gets_a_suggestion(style):
    with pytest.raises(UnknownName, match="no layer is called 'cov1'; did you mean 'conv1'?"):
        rows(style.layers, "cov1")


def test_without_wplus_numbers_count_layers_and_rows_do_not_exist(plain):
    assert pick(plain.layers, "0-1") == (0, 1)
    with pytest.raises(SettingError, match="this generator has no w\\+"):
        rows(plain.layers, "0-1")


def test_a_head_with_a_row_of_its_own_counts_among_all_and_its_size():
    # StyleGAN2's last ToRGB has the last row; the others share theirs with the block after.
    layers = random(Config.tiny()).layers
    assert rows(layers, "all") == tuple(range(6))
    assert rows(layers, "16px") == (3, 4, 5)
    assert rows(layers, "4px") == (0,)
    assert rows(layers, "b4.torgb") == (1,)
