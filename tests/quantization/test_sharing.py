"""quantize_weights on networks whose layers share weights."""

import numpy as np
import pytest

from pocketkube.quantization.insertion import prepare
from pocketkube.quantization.quantize import quantize
from pocketkube.spec.sections import QuantizeWeights
from tests.graph.test_sharing import distinct, made
from tests.graph.tied_layers import IN_MEMORY, TIED


@pytest.mark.parametrize("name", sorted({*TIED, *IN_MEMORY}))
def test_what_is_shared_is_shared_in_the_model_to_quantise(name):
    model, inputs = made(name)
    prepared = prepare(model, None)
    np.testing.assert_allclose(
        prepared.model(inputs, training=False), model(inputs, training=False), rtol=1e-5, atol=1e-5
    )
    assert distinct(prepared.model) == distinct(model)


def test_a_kernel_that_two_layers_read_is_put_on_levels_once():
    model, inputs = made("autoencoder")
    quantized = quantize(model, QuantizeWeights(weight_bits=4, first_last_bits=4), (inputs,), 0)
    quantized.method.finish()
    encoder, decoder = (quantized.model.get_layer(name) for name in ("encoder", "decoder"))
    assert decoder.encoder.kernel is encoder.kernel
    for column in np.asarray(encoder.kernel).T:
        assert len(np.unique(column)) <= 15


@pytest.mark.parametrize(
    "name", sorted({*TIED, *IN_MEMORY} - {"language_model", "reversible_embedding"})
)
def test_roundings_leave_what_is_shared_as_it_is(name):
    model, inputs = made(name)
    settings = QuantizeWeights(bias_correction=False, calibration="minmax")
    quantized = quantize(model, settings, (inputs,), 0)
    shapes = distinct(quantized.model)
    assert all(shapes.count(shape) == distinct(model).count(shape) for shape in shapes if shape)
    quantized.method.finish()
    given, wanted = (np.asarray(each(inputs, training=False)) for each in (quantized.model, model))
    assert np.abs(given - wanted).max() < 0.2 * np.abs(wanted).max()
