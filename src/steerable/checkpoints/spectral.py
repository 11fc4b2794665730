"""Spectral normalization, as the several forms of it are kept in files, made part of the weights.

Paper    Miyato, Kataoka, Koyama, Yoshida, Spectral Normalization for Generative Adversarial Networks, ICLR 2018 (arXiv:1802.05957), eq. 8
Matches  torch's `weight_orig`, `weight_u`, `weight_v` and its parametrizations: sigma = u·Wv. ajbrock's `weight`, `u0`: one more step of
         the power method, sigma = |W v|, v the unit vector along uW
"""

import re
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

ASIDE = re.compile(r"(.*\.|)(weight_u|weight_v|u\d+|sv\d+|sn_u|sn_sigma)")
SPELLED = (  # what a weight is called, and the vectors that come with it
    ("weight_orig", ("weight_u", "weight_v")),
    ("parametrizations.weight.original", ("parametrizations.weight.0._u", "parametrizations.weight.0._v")),
    ("weight", ("u0",)),
    ("weight", ("sn_u",)),
)


def folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with every `weight` divided by its largest singular value, as far as the file knows it; vectors are left out."""
    found: dict[str, Tensor] = {}
    for key, tensor in state.items():
        part, vectors = _normalized(key, state)
        if part is not None:
            found[f"{part}weight"] = divided(tensor, *(state[v] for v in vectors))
        elif not ASIDE.fullmatch(key) and "parametrizations.weight.0." not in key:
            found[key] = tensor
    return found


def _normalized(key: str, state: Mapping[str, Tensor]) -> tuple[str | None, list[str]]:
    """The prefix of a normalized weight and the names of its vectors; None for any other tensor."""
    for leaf, vectors in SPELLED:
        part = key.removesuffix(leaf)
        if part != key and (not part or part.endswith(".")) and all(part + v in state for v in vectors):
            return part, [part + v for v in vectors]
    return None, []


def divided(weight: Tensor, u: Tensor, v: Tensor | None = None) -> Tensor:
    """weight / sigma."""
    weight, u = weight.float(), u.float().flatten()
    W = weight.flatten(1)
    sigma = (W @ F.normalize(u @ W, dim=0)).norm() if v is None else u @ (W @ v.float())
    return weight / sigma
