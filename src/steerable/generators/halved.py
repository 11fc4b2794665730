"""What families share whose features may be coarser than their weights: the twin for previews."""

import copy
from typing import TypeVar

import torch

from ..generator import Generator

H = TypeVar("H", bound="Halved")


class Halved(Generator):
    """A generator that keeps its features in `precision`, whatever the type of its weights."""

    precision: torch.dtype | None = None  # None for that of the weights

    def half(self: H) -> H:
        """A twin for previews: the same weights, features in bfloat16.

        Codes keep their type, and so does what must be exact: Fourier features, filters, sums of image heads.
        """
        twin = copy.copy(self)
        twin.precision = torch.bfloat16
        return twin
