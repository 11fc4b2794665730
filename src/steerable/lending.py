"""Small things that a fold needs: other weights for a while, whether a derivative is wanted, and a way to stop."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from .errors import MethodFailed


class Stopped(MethodFailed):
    """A rendering was given up because `stop()` said so."""


def check(stop: Callable[[], bool] | None) -> None:
    if stop is not None and stop():
        raise Stopped("the rendering was stopped")


def tracked(t: Tensor) -> bool:
    if torch.is_grad_enabled() and t.requires_grad:
        return True
    if torch._C._functorch.is_functorch_wrapped_tensor(t):  # pyright: ignore[reportAttributeAccessIssue]
        return True
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(t).tangent is not None


def borrow(module: nn.Module, prefix: str, weights: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the module tree that points at `weights` where they are given, and at the lender's tensors elsewhere."""
    if not any(name.startswith(prefix) for name in weights):
        return module
    twin = module.__class__.__new__(module.__class__)  # copy.copy is refused by parametrized modules
    twin.__dict__ = dict(module.__dict__)
    twin.__dict__["_parameters"] = {k: weights.get(prefix + k, v) for k, v in module._parameters.items()}
    twin.__dict__["_buffers"] = {k: weights.get(prefix + k, v) for k, v in module._buffers.items()}
    twin.__dict__["_modules"] = {k: m and borrow(m, f"{prefix}{k}.", weights) for k, m in module._modules.items()}
    if "tables" in twin.__dict__:
        twin.__dict__["tables"] = {}  # what was derived from the lender's weights
    return twin
