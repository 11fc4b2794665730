"""Scores that somebody else made: a table with one row per sample."""

import csv
import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArtifactError, SettingError, SourceError

LIMIT = 256 << 20  # bytes


class Table:
    """Labels by sample seed, from a CSV whose first line is `seed,<name>,<name>…`. An empty cell is a label that is not known: NaN.

    It is no `Scorer`, since it cannot look at a picture: it knows the samples of these seeds and no other (`rows`).
    """

    def __init__(self, path: str | Path):
        """Raises SourceError if there is no such file and ArtifactError, with the line, if it is no such table."""
        self.path = Path(path)
        try:
            if self.path.stat().st_size > LIMIT:
                raise ArtifactError(f"{self.path.name} is larger than {LIMIT >> 20} MB; a table of scores is expected")
            data = self.path.read_bytes()
        except OSError as error:
            raise SourceError(
                f"{self.path} cannot be read: {error.strerror}; a CSV with the header seed,<name>… is expected"
            ) from error
        self.name = self.path.stem
        self.key = f"table/{hashlib.sha256(data).hexdigest()[:16]}"
        try:
            lines = csv.reader(data.decode("utf-8-sig").splitlines(), strict=True)
            header, *rows = ([cell.strip() for cell in line] for line in lines if any(cell.strip() for cell in line))
        except (UnicodeDecodeError, csv.Error, ValueError) as error:
            raise ArtifactError(f"{self.path.name} is not a CSV in UTF-8 with the header seed,<name>…") from error
        if header[0] != "seed" or len(header) < 2 or len(set(header)) < len(header) or not all(header):
            raise ArtifactError(
                f"{self.path.name} begins with {','.join(header)[:80]!r}; a header seed,<name>… with different names is expected"
            )
        self.names = tuple(header[1:])
        self.units = ("unknown",) * len(self.names)
        self._at: dict[int, int] = {}
        for number, row in enumerate(rows):
            seed = self._seed(row, len(header), number + 2)
            self._at[seed] = number
        self.values = torch.tensor(
            [[self._number(cell, seed) for cell in row[1:]] for seed, row in zip(self._at, rows, strict=True)]
        )
        self.values = self.values.view(len(rows), len(self.names))

    @property
    def seeds(self) -> tuple[int, ...]:
        """In the order of the file."""
        return tuple(self._at)

    def rows(self, seeds: Sequence[int]) -> Float[Tensor, "n a"]:
        """The labels of these seeds. Raises SettingError for seeds that the table does not hold."""
        missing = [seed for seed in seeds if int(seed) not in self._at]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            held = f"{min(self._at)} to {max(self._at)}" if self._at else "none"
            raise SettingError(
                f"{self.path.name} has no row for seed {', '.join(map(str, missing[:5]))}{more}; it has {len(self._at)} seeds, {held}"
            )
        return self.values[[self._at[int(seed)] for seed in seeds]]

    def __repr__(self) -> str:
        return f"<table {self.path.name}: {len(self._at)} seeds; {', '.join(self.names)}>"

    def _seed(self, row: list[str], width: int, line: int) -> int:
        if len(row) != width:
            raise ArtifactError(f"{self.path.name}, row {line}: {len(row)} cells, the header has {width}")
        if not re.fullmatch("[0-9]{1,18}", row[0]):
            raise ArtifactError(
                f"{self.path.name}, row {line}: {row[0][:40]!r} is no seed; a whole number from 0 is expected"
            )
        if int(row[0]) in self._at:
            raise ArtifactError(f"{self.path.name}, row {line}: seed {int(row[0])} is there twice")
        return int(row[0])

    def _number(self, cell: str, seed: int) -> float:
        try:
            value = float(cell or "nan")
        except ValueError:
            value = math.inf
        if math.isinf(value):
            raise ArtifactError(
                f"{self.path.name}, seed {seed}: {cell[:40]!r} is no number; leave the cell empty where a label is not known"
            )
        return value
