"""What holds of the rules of every layer."""

import keras
import numpy as np
import pytest

from pocketkube.extension import layers
from pocketkube.graph.cost import profile_model
from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.layer_rules import LayerRules
from pocketkube.graph.matrices import consumers
from pocketkube.graph.surgery import copy_model, remove_channels
from pocketkube.testing.arrays import inputs_of


class LayerTests:
    """Give the fixtures `rules`, and `network`, a functional model in which the layer is called."""

    @pytest.fixture
    def rules(self) -> LayerRules:
        """The layer's rules."""
        raise NotImplementedError

    @pytest.fixture
    def network(self) -> keras.Model:
        """A network with channels that come in to the layer or go out from it, and may be cut."""
        raise NotImplementedError

    def test_it_is_found_by_its_class(self, rules: LayerRules, network: keras.Model) -> None:
        """Its entry point's name is the one under which Keras knows it; the network calls it."""
        name = keras.saving.get_registered_name(rules.layer)
        assert keras.saving.get_registered_object(name) is rules.layer
        assert layers.get(name) is rules
        assert any(type(layer) is rules.layer for layer in network._flatten_layers())

    def test_no_layer_is_left_whole_for_it(self, rules: LayerRules, network: keras.Model) -> None:
        """Channels travel through it, or are cut around it."""
        graph = trace_channels(network)
        assert graph.groups
        assert not graph.left_whole

    def test_its_cost_is_known(self, rules: LayerRules, network: keras.Model) -> None:
        """A whole number of multiply-adds, of at least 0."""
        profile = profile_model(network)
        mine = [each for each in profile.layers if each.kind == rules.layer.__name__]
        assert mine
        assert all(isinstance(each.macs, int) and each.macs >= 0 for each in mine)
        assert not any(each.uncounted for each in mine)

    def test_what_is_cut_changes_nothing_else(self, rules: LayerRules, network: keras.Model) -> None:
        """A network without some units computes what the whole one does where nothing reads them.

        That holds wherever one channel has no say in what the layer makes of another.
        """
        graph = trace_channels(network)
        keep = np.ones(graph.units.count, bool)
        for group in graph.groups:
            keep[group.units[::2]] = False
        smaller = remove_channels(network, graph, keep)
        assert smaller.count_params() < network.count_params()
        whole = copy_model(network)
        for side in consumers(trace_channels(whole)):
            kernel = np.array(side.weight)
            np.moveaxis(kernel, side.axis, 0)[
                (side.units >= 0) & ~np.append(keep, True)[side.units]
            ] = 0
            side.weight.assign(kernel)
        inputs = inputs_of(network)
        for one, other in zip(
            keras.tree.flatten(whole(inputs, training=False)),
            keras.tree.flatten(smaller(inputs, training=False)),
            strict=True,
        ):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-4, atol=1e-5)

    def test_it_survives_being_saved(
        self, rules: LayerRules, network: keras.Model, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """A bundle is a .keras file."""
        file = tmp_path_factory.mktemp("layer") / "net.keras"
        network.save(file)
        again, inputs = keras.saving.load_model(file), inputs_of(network)
        for one, other in zip(
            keras.tree.flatten(network(inputs, training=False)),
            keras.tree.flatten(again(inputs, training=False)),
            strict=True,
        ):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-6)
