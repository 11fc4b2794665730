"""Any module that turns codes into pictures becomes a generator; what can be done with it is worked out from it.

    g = st.wrap(module, z_dim=100)

A module is run from one layer on in steps, as cuts.py finds them in what its `forward` does. With `layers=()` it is one layer.
Codes that several steps read can differ between layers: then there are w+ (a row for each such step) and s (the rows end to end).
"""

from collections.abc import Iterator, Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from ..artifact import fingerprint
from ..errors import SettingError, SpaceError
from ..generator import Generator
from ..layer import Layer, State
from ..space import Latents, Space
from .cuts import cut, is_read, traced, tried

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PASSING = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout)
RESHAPING = ("view", "reshape", "unsqueeze", "flatten", "unflatten", "contiguous", "squeeze", "clone")


def wrap(
    module: nn.Module,
    z_dim: int | tuple[int, ...],
    *,
    layers: Sequence[str] | None = None,
    mapping: nn.Module | None = None,
    classes: int = 0,
    range: tuple[float, float] = (-1.0, 1.0),
    name: str = "wrapped",
) -> "Wrapped":
    """A generator of `module(z)`, which gives pictures [n 3 h w] or [n 1 h w] whose values run over `range`.

    z_dim    numbers in a code; (100, 1, 1) for a module that wants maps. One that begins with a convolution is given these by itself
    layers   dotted names of the submodules whose outputs are the states of the fold; by default those found: children (of Sequential and
             ModuleList too), wherever one ends that has weights. () for the whole module as one layer, which is also what is found where
             it cannot be traced
    mapping  z to w, for a module that takes w; then there is truncation
    classes  of a module that takes a label too, `module(z, label)` with one-hot rows [n classes]; with a mapping, `mapping(z, label)`

    The weights are shared with the module, which stays as it is. Raises SettingError where it cannot be run so.
    """
    return Wrapped(module, z_dim, layers, mapping, classes, range, name)


class Net(nn.Module):
    """The two modules."""

    def __init__(self, module: nn.Module, mapping: nn.Module | None):
        super().__init__()
        self.module, self.mapping = module, mapping


@final
class Wrapped(Generator):
    """z (→ w) (→ w+ → s) and the steps between the cuts; see the top of this file."""

    def __init__(
        self,
        module: nn.Module,
        z_dim: int | tuple[int, ...],
        layers: Sequence[str] | None,
        mapping: nn.Module | None,
        classes: int,
        range: tuple[float, float],
        name: str,
    ):
        if next(module.parameters(), None) is None:
            raise SettingError("the module has no weights, so there is nothing to steer")
        if not range[0] < range[1]:
            raise SettingError(f"range is the lowest and the highest value of a picture; got {range}")
        net = Net(twin(module, {}), mapping and twin(mapping, {})).eval()
        self.name, self.net, self.range, self.mapped = name, net, range, mapping is not None
        self.z_shape = _shaped(z_dim, mapping or module)
        z = Space("z", (int(torch.Size(self.z_shape).numel()),))
        names, self.steps = cut(net.module, layers, 2 if classes and not self.mapped else 1)
        probe = torch.randn(2, *z.shape, generator=torch.Generator().manual_seed(0)).to(self.device, self.dtype)
        label = {"label": torch.eye(classes)[[0, 0]].to(probe)} if classes else {}
        with torch.no_grad():
            code = tried("mapping", lambda: self._mapped(probe, label.get("label"))) if mapping else probe
            self.code_shape = _shaped(code.shape[1], module) if mapping else self.z_shape
            self.shapes = self._dry(code, label.get("label"))
        (width,), readers = code.shape[1:], [i for i, step in enumerate(self.steps) if is_read(step, 1)]
        spaces = [z, Space("w", (width,))] if mapping else [z]
        if len(readers) > 1:
            spaces += [
                Space("w+", (len(readers), width), affine=True),
                Space("s", (len(readers) * width,), affine=True),
            ]
        described = []
        for i, (own, shape) in enumerate(zip(names, self.shapes, strict=True)):
            row = readers.index(i) if i in readers else None
            style = slice(0, 0) if row is None else slice(row * width, (row + 1) * width)
            c, h, w = (*shape, 1, 1)[:3]
            reads = ("label",) if classes and not mapping and is_read(self.steps[i], 2) else ()
            described.append(Layer(own, (h, w), c, row if len(readers) > 1 else None, style, reads))
        inputs = {"label": (classes,)} if classes else {}
        super().__init__(
            name, net, spaces=spaces, layers=described, inputs=inputs, fingerprint=fingerprint(net.state_dict())
        )

    # -- running --------------------------------------------------------------------------------------------------------------------

    def _mapped(self, z: Float[Tensor, "n d"], label: Tensor | None) -> Float[Tensor, "n w"]:
        w = self.net.mapping(z.reshape(-1, *self.z_shape), *([] if label is None else [label.to(z)]))
        if not isinstance(w, Tensor) or w.ndim != 2:
            raise SettingError(f"mapping is to give rows [n w]; it gave {_what(w)}")
        return w

    def _run(self, i: int, x: Tensor | None, code: Float[Tensor, "n d"], label: Tensor | None) -> Any:
        """Step i, from the output of the one before. What it is given is copied, because modules may write to it."""
        code = code.to(self.dtype, copy=True).reshape(-1, *self.code_shape)
        step = self.steps[i]
        if step is None:
            return self.net.module(code, *([] if label is None else [label.to(code)]))
        x = None if x is None else x.clone().reshape(-1, *self.shapes[i - 1])
        return fx.Interpreter(self.net.module, graph=step).run(x, code, None if label is None else label.to(code))

    def _dry(self, code: Float[Tensor, "n d"], label: Tensor | None) -> list[tuple[int, ...]]:
        """The shapes of all states. Raises SettingError where the module does something else than its steps, or makes no pictures."""
        label, x = None if self.mapped else label, None
        self.shapes: list[tuple[int, ...]] = []
        arguments = [code.reshape(-1, *self.code_shape), *([] if label is None else [label])]
        whole = tried("the module", lambda: self.net.module(*(a.clone() for a in arguments)))
        for i in range(len(self.steps)):
            x = tried("the module", lambda i=i, x=x: self._run(i, x, code, label))
            if not isinstance(x, Tensor) or len(x) != len(code) or not 2 <= x.ndim <= 4:
                raise SettingError(
                    f"a layer gives {_what(x)}; a state is a tensor [n c], [n c l] or [n c h w], so name other layers"
                )
            self.shapes.append(tuple(x.shape[1:]))
        if not isinstance(whole, Tensor) or whole.ndim != 4 or whole.shape[1] not in (1, 3):
            raise SettingError(f"the module gives {_what(whole)}; pictures are [n 3 h w] or [n 1 h w]")
        if x is None or x.shape != whole.shape or not torch.allclose(x, whole, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise SettingError(
                "run layer by layer, the module gives another picture: is it random? if not, give layers=()"
            )
        return self.shapes

    # -- the contract ---------------------------------------------------------------------------------------------------------------

    def _step(self, latents: Latents) -> Latents:
        v, here = latents.values, latents.space.name
        after = self.spaces[self.spaces.index(self.space(here)) + 1 :]
        if not after:
            raise SpaceError(f"{self.name} has no space after {here!r}")
        if after[0].name == "w":
            if "label" in self.inputs and "label" not in latents.inputs:
                raise SettingError(
                    f"{self.name} needs an input 'label' [n {self.inputs['label'][0]}] to go from z to w"
                )
            return latents.at(self._mapped(v, latents.inputs.get("label")), after[0])
        return latents.at(
            v.flatten(1) if after[0].name == "s" else v[:, None].expand(-1, *after[0].shape).clone(), after[0]
        )

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_empty(len(latents), 0, 1, 1))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        style, label = self.layers[i].style, None if self.mapped else latents.inputs.get("label")
        if label is None and self.layers[i].reads:
            raise SettingError(f"{self.name} needs an input 'label' [n {self.inputs['label'][0]}]")
        width = int(torch.Size(self.code_shape).numel())
        code = latents.values[:, style if style.stop else slice(0, width)]
        y = self._run(i, state.x if i else None, code, label)
        return State(y.reshape(len(y), *(*self.shapes[i], 1, 1)[:3]))

    def finish(self, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        low, high = self.range
        x = state.x if (low, high) == (-1, 1) else (state.x - low) * (2 / (high - low)) - 1
        return x.to(latents.values.dtype).expand(-1, 3, -1, -1).contiguous()

    def affines(self, space: str) -> dict[str, Float[Tensor, "c d"]]:
        code = "w" if self.mapped else "z"
        if space not in (code, "w+") or space not in [s.name for s in self.spaces]:
            raise SpaceError(f"{self.name} has maps out of {code!r}, not out of {space!r}")
        found = {}
        for layer, step in zip(self.layers, self.steps, strict=True):
            matrices = self._linear(self.net.module) if step is None else self._behind(step, 1, self.net.module)
            if matrices := list(matrices):
                found[layer.name] = torch.cat(matrices)
        if not found:
            raise SpaceError(
                f"{self.name}: no nn.Linear and no convolution reads {code!r} as it is, so there is no map out of it"
            )
        return found

    def _linear(self, module: nn.Module, argument: int = 0) -> Iterator[Float[Tensor, "c d"]]:
        """The matrices of the linear modules that read an argument of a module as it is."""
        d = int(torch.Size(self.code_shape).numel())
        if isinstance(module, nn.Linear) and module.in_features == d:
            yield module.weight
        elif isinstance(module, CONVOLUTIONS) and module.in_channels == d:
            one = (1,) * len(module.kernel_size)
            eye = torch.eye(d, device=self.device, dtype=self.dtype)
            yield (module(eye.view(d, d, *one)) - module(torch.zeros_like(eye[:1]).view(1, d, *one))).flatten(1).T
        elif not isinstance(module, (nn.Linear, *CONVOLUTIONS)):
            try:
                graph = traced(module, (), argument + 1)
            except SettingError:  # it does not say what it does, so nothing is known of it
                return
            yield from self._behind(graph, argument, module)

    def _behind(self, graph: fx.Graph, argument: int, root: nn.Module) -> Iterator[Float[Tensor, "c d"]]:
        """The same, of an argument of a graph."""
        followed = [[node for node in graph.nodes if node.op == "placeholder"][argument]]
        for node in followed:
            for user in node.users:
                if user.op == "call_method" and user.target in RESHAPING and user.args[0] is node:
                    followed.append(user)
                elif user.op == "call_module":
                    module = root.get_submodule(str(user.target))
                    if isinstance(module, PASSING):
                        followed.append(user)
                    elif node in user.args:
                        yield from self._linear(module, user.args.index(node))


# -- what is worked out of a module -----------------------------------------------------------------------------------------------------


def twin(module: nn.Module, made: dict[nn.Module, nn.Module]) -> nn.Module:
    """A module of its own that shares all weights, none of which asks for a gradient; `made` are the twins that there are already."""
    if module not in made:
        made[module] = same = module.__class__.__new__(module.__class__)  # parametrized ones refuse copy.copy
        same.__dict__ = dict(module.__dict__)
        fixed = {
            k: p if p is None else nn.Parameter(p.detach(), requires_grad=False) for k, p in module._parameters.items()
        }
        same.__dict__["_parameters"], same.__dict__["_buffers"] = fixed, dict(module._buffers)
        same.__dict__["_modules"] = {k: m if m is None else twin(m, made) for k, m in module._modules.items()}
    return made[module]


def _shaped(z_dim: int | tuple[int, ...], reader: nn.Module) -> tuple[int, ...]:
    """The shape of one code as a module is to have it."""
    if isinstance(z_dim, tuple):
        return z_dim
    first = next((m for m in reader.modules() if any(p.ndim > 1 for p in m.parameters(recurse=False))), None)
    return (z_dim, *(1,) * len(first.kernel_size)) if isinstance(first, CONVOLUTIONS) else (z_dim,)


def _what(value: object) -> str:
    return f"a tensor of the shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
