import pytest
import torch

from steerable.errors import ArtifactError, SettingError, SourceError
from steerable.score import Table, score


def written(tmp_path, text, name="labels.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_labels_by_seed(tmp_path):
    path = written(tmp_path, "\ufeffseed, smile ,age\n7,0.5,31\r\n\n0,-1e-1,\n12,2,nan\n")
    table = score(str(path))
    assert isinstance(table, Table)
    assert (table.name, table.names, table.seeds) == ("labels", ("smile", "age"), (7, 0, 12))
    rows = table.rows([0, 7, 7])
    assert rows.dtype == torch.float32
    assert rows[:, 0].tolist() == pytest.approx([-0.1, 0.5, 0.5])
    assert rows[:, 1].isnan().tolist() == [True, False, False]
    assert table.rows([]).shape == (0, 2)
    assert table.key == score(path).key != score(written(tmp_path, "seed,smile\n7,0.5\n", "other.csv")).key


def test_a_seed_that_is_not_there(tmp_path):
    table = Table(written(tmp_path, "seed,smile\n3,1\n5,1\n"))
    with pytest.raises(
        SettingError, match=r"labels.csv has no row for seed 4, 6, 7, 8, 9 and 1 more; it has 2 seeds, 3 to 5"
    ):
        table.rows([3, 4, 6, 7, 8, 9, 10])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smile,age\n1,2\n", "begins with 'smile,age'; a header seed,<name>"),
        ("seed\n1\n", "begins with 'seed'; a header"),
        ("seed,a,a\n1,2,3\n", "with different names is expected"),
        ("seed,a,\n1,2,3\n", "begins with 'seed,a,'"),
        ("", "is not a CSV in UTF-8"),
        (b"seed,\xff\n1,2\n", "is not a CSV in UTF-8"),
        ('seed,a\n1,"2\n', "is not a CSV in UTF-8"),
        ("seed,a\n1,2,3\n", "row 2: 3 cells, the header has 2"),
        ("seed,a\n1,2\n-1,2\n", "row 3: '-1' is no seed"),
        ("seed,a\n1.5,2\n", "'1.5' is no seed"),
        ("seed,a\n1,2\n01,2\n", "row 3: seed 1 is there twice"),
        ("seed,a\n1,high\n", "seed 1: 'high' is no number; leave the cell empty"),
        ("seed,a\n1,inf\n", "seed 1: 'inf' is no number"),
    ],
)
def test_what_is_no_table_is_refused_with_the_place(tmp_path, text, message):
    with pytest.raises(ArtifactError, match=message):
        Table(written(tmp_path, text))


def test_no_file(tmp_path):
    with pytest.raises(SourceError, match=r"none.csv cannot be read: No such file.*header seed,<name>"):
        score(tmp_path / "none.csv")
