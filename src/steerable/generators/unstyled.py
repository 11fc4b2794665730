"""What families without styles share: all of z goes into the first layer, perhaps with a label, and nothing else is to be steered."""

from abc import abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from ..artifact import fingerprint
from ..errors import SettingError, SpaceError
from ..generator import Generator, Mark
from ..layer import Layer, State
from ..space import Latents, Space


class Unstyled(Generator):
    """A generator of the one space z, whose first layer is a linear map of z."""

    def __init__(
        self, name: str, net: nn.Module, layers: Sequence[Layer], z_dim: int, classes: int, mark: Mark | None = None
    ):
        inputs = {"label": (classes,)} if classes else {}
        mark, spaces = mark or fingerprint(net.state_dict()), (Space("z", (z_dim,)),)
        super().__init__(name, net, spaces=spaces, layers=layers, inputs=inputs, fingerprint=mark)

    @abstractmethod
    def _matrix(self) -> Float[Tensor, "c d"]:
        """The map of z in the first layer."""

    def affines(self, space: str) -> dict[str, Float[Tensor, "c d"]]:
        if space != "z":
            raise SpaceError(f"{self.name} has only the space 'z', not {space!r}")
        return {self.layers[0].name: self._matrix()}

    def _step(self, latents: Latents) -> Latents:
        raise SpaceError(f"{self.name} has no space after {latents.space.name!r}")

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_empty(len(latents), 0, 1, 1))

    def _label(self, latents: Latents) -> Float[Tensor, "n classes"] | None:
        """The label of each sample, where there are classes. Raises SettingError for samples without one."""
        if not self.inputs:
            return None
        if "label" not in latents.inputs:
            raise SettingError(f"{self.name} needs an input 'label' [n {self.inputs['label'][0]}]")
        return latents.inputs["label"].to(latents.values)
