"""A module cut into steps, without hooks.

What its `forward` does is traced (torch.fx) down to the layers, which stay whole, and cut behind each of them. A step is all that leads to
one cut from the cut before and from the codes. That is exact, and refused where the output of a layer is read again behind the next cut,
because then the maps there are not all that the rest of the net needs. Inside a layer anything may happen; only the modules around the
layers must do without control flow that depends on values. With `layers=()` nothing is traced, and the module is one step.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import fx, nn

from ..errors import SettingError, UnknownName
from .opening import first_line

WHOLE = "module"  # the name of the layer that is the whole module
REST = "output"  # and of what comes behind the last layer named


def cut(module: nn.Module, layers: Sequence[str] | None, arguments: int) -> tuple[list[str], list[fx.Graph | None]]:
    """The layers' names and the steps to them; None for a step that is the whole module."""
    whole: tuple[list[str], list[fx.Graph | None]] = [WHOLE], [None]
    if layers is None:
        parts = dict(_parts(module))
        try:
            cuts = _found(traced(module, tuple(parts), arguments), parts)
        except SettingError:
            return whole
        if len(cuts) < 2:
            return whole
    elif not layers:
        return whole
    else:
        known = dict(module.named_modules())
        for name in layers:
            if name not in known or not name:
                raise UnknownName("layer of this module", str(name), [k for k in known if k])
        graph = traced(module, layers, arguments)
        cuts = [node for node in graph.nodes if node.op == "call_module" and node.target in layers]
        if sorted(str(node.target) for node in cuts) != sorted(set(layers)):
            raise SettingError(f"layers={list(layers)}: each is to be run once, and none within another")
        cuts = _closed(cuts, graph)
        if (i := _bypassed(cuts)) is not None:
            raise SettingError(
                f"what goes into {cuts[i].target!r} is read again behind it, so it cannot be a layer; leave it out"
            )
    names = [_called(node) for node in cuts]
    return names, [_between(source, target) for source, target in zip([None, *cuts], cuts, strict=False)]


class _Tracer(fx.Tracer):
    """Looks into the modules around the layers, and into no other."""

    def __init__(self, layers: Sequence[str]):
        super().__init__()
        self.layers = layers

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(name.startswith(f"{module_qualified_name}.") for name in self.layers)


def traced(module: nn.Module, layers: Sequence[str], arguments: int) -> fx.Graph:
    """What the forward of a module does with its first arguments. Raises SettingError where it cannot be told without running it."""

    def graph() -> fx.Graph:
        rest = list(inspect.signature(module.forward).parameters.values())[arguments:]
        defaults = {p.name: p.default for p in rest if p.default is not p.empty}
        return _Tracer(layers).trace(module, concrete_args=defaults or None)

    return tried(
        "what the module does cannot be told from outside (name layers further in, or give layers=()): it", graph
    )


def tried(what: str, call: Callable[[], Any]) -> Any:
    """Whatever a person's module raises becomes one SettingError."""
    try:
        return call()
    except SettingError:
        raise
    except Exception as error:
        raise SettingError(f"{what} raised {type(error).__name__}: {first_line(error)}") from error


def _called(node: fx.Node) -> str:
    """The name of the layer that ends at a cut; a number alone would be taken for a row."""
    if node.op != "call_module":
        return REST
    name = str(node.target)
    return f"{WHOLE}.{name}" if name.isdigit() else name


def _parts(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The children of a module; of a Sequential or a ModuleList among them theirs."""
    for key, child in module.named_children():
        if isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from _parts(child, f"{name}{key}.")
        else:
            yield f"{name}{key}", child


def _found(graph: fx.Graph, parts: dict[str, nn.Module]) -> list[fx.Node]:
    """Cuts behind parts with weights, before the next of them; none where something goes around."""
    run = [node for node in graph.nodes if node.op == "call_module" and node.target in parts]
    run = [node for node in run if [n.target for n in run].count(node.target) == 1]
    heavy = [any(p.ndim > 1 for p in parts[str(node.target)].parameters()) for node in run]
    cuts, weighty = list[fx.Node](), False
    for i, node in enumerate(run):
        weighty |= heavy[i]
        if weighty and i + 1 < len(run) and heavy[i + 1]:
            cuts.append(node)
            weighty = False
    cuts = _closed(cuts, graph)
    while (i := _bypassed(cuts)) is not None:
        del cuts[i]
    return cuts


def _closed(cuts: list[fx.Node], graph: fx.Graph) -> list[fx.Node]:
    """The cuts, and the output of the graph at last."""
    output = next(node for node in graph.nodes if node.op == "output").args[0]
    if not isinstance(output, fx.Node):
        raise SettingError("the module gives more than a picture")
    return [*(node for node in cuts if node is not output), output]


def _needed(target: fx.Node, source: fx.Node | None) -> set[fx.Node]:
    """All nodes that a target comes from, not looking behind the source."""
    needed, left = set[fx.Node](), [target]
    while left:
        node = left.pop()
        if node is not source and node not in needed:
            needed.add(node)
            left += node.all_input_nodes
    return needed


def _bypassed(cuts: list[fx.Node]) -> int | None:
    """The first cut that something from behind an earlier one goes around."""
    for i in range(2, len(cuts)):
        if _needed(cuts[i], cuts[i - 1]) & set(cuts[: i - 1]):
            return i - 1
    return None


def _between(source: fx.Node | None, target: fx.Node) -> fx.Graph:
    """The graph of (output of the source, code, label) that makes the target."""
    needed, graph = _needed(target, source), fx.Graph()
    x, *given = (graph.placeholder(name) for name in ("x", "code", "label"))
    copies = {} if source is None else {source: x}
    arguments = [node for node in target.graph.nodes if node.op == "placeholder"]
    for node in target.graph.nodes:
        if node in needed and node.op == "placeholder":
            copies[node] = given[arguments.index(node)]
        elif node in needed:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[target])
    return graph


def is_read(step: fx.Graph | None, argument: int) -> bool:
    """Is the code (1), the label (2) read in a step?"""
    return step is None or bool([node for node in step.nodes if node.op == "placeholder"][argument].users)
