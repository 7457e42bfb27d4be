"""What a model costs, layer by layer."""

from dataclasses import dataclass

from rich.table import Table

from pocketkube.api.network import ModelLike, network_of
from pocketkube.api.shown import Shown
from pocketkube.figures import bounded, count
from pocketkube.graph.cost import LayerCost, Profile
from pocketkube.graph.profile_table import render_profile


@dataclass(frozen=True, repr=False)
class ModelProfile(Shown):
    """What a model costs at batch size 1.

    Attributes:
        costs: All figures.
    """

    costs: Profile

    @property
    def macs(self) -> int:
        """Multiply-adds of all layers."""
        return self.costs.macs

    @property
    def parameters(self) -> int:
        """Numbers in all weights."""
        return self.costs.parameters

    @property
    def layers(self) -> tuple[LayerCost, ...]:
        """The costs of each layer, in the order of computation."""
        return self.costs.layers

    @property
    def in_brief(self) -> str:
        """The figures of all layers."""
        costs = self.costs
        macs = bounded(count(costs.macs), costs.bound)
        return f"{macs} MACs, {count(costs.parameters)} parameters, {len(costs.layers)} layers"

    def table(self) -> Table:
        """A row for each layer that costs anything, and a total."""
        return render_profile(self.costs)


def profile(model: ModelLike) -> ModelProfile:
    """Counts what a model costs: multiply-adds, parameters and activations of each layer.

    Args:
        model: A Keras model, or what another function gave.

    Returns:
        The figures, which a notebook shows as a table.

    Raises:
        UserError: If the model is a subclassed one, or a shape beside the batch is not fixed.

    Example:
        >>> import pocketkube as pk
        >>> from pocketkube.models import build_model
        >>> found = pk.profile(build_model("lenet", (28, 28, 1), 10))
        >>> found.parameters, found.layers[0].kind
        (61706, 'Conv2D')
    """
    return ModelProfile(network_of("profile", model).profile)
