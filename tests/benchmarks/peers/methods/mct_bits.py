"""Quantisation by Sony's model-compression-toolkit, calibrated or tuned: int8, or bits by layer."""

import model_compression_toolkit as mct
import numpy as np
import tensorflow as tf

from tests.benchmarks.peers.in_keras import built
from tests.benchmarks.peers.job import FILE, PROBES, Cannot, Compressed, Job, Prepared
from tests.benchmarks.peers.methods.mct_pruning import batches_of

WHOLE = 8.0


def prepare(job: Job) -> Prepared:
    """Setting: `tuned`: rounding is learnt on all training images, without labels, for the epochs.

    Below 8 bits its mixed precision searches layers' bits for that mean.
    """
    tf.keras.utils.set_random_seed(job.seed)
    arrays, network = job.arrays(), job.dense_network()
    model = built(network, tf.keras)
    kinds = ("conv", "depthwise", "dense")
    weights = sum(network.of(layer)[0].size for layer in network.layers if layer.kind in kinds)
    batches = batches_of(arrays.train.first(job.budget.calibration).images)
    is_mixed, is_tuned = job.target < WHOLE, job.settings.get("tuned", False)

    def compress() -> Compressed:
        if not is_mixed and any(layer.kind == "zero_padding" for layer in network.layers):
            # "An OpQuantizationConfig can't have both enable_activation_quantization and …"
            raise Cannot("its description of LiteRT contradicts itself at ZeroPadding2D")
        config, most = mct.core.CoreConfig(), None
        if is_mixed:
            mixed = mct.core.MixedPrecisionQuantizationConfig(num_of_images=job.budget.hessian_samples)
            config = mct.core.CoreConfig(mixed_precision_config=mixed)
            most = mct.core.ResourceUtilization(weights_memory=weights * job.target / 8)
        device = mct.get_target_platform_capabilities(device_type="imx500" if is_mixed else "tflite")
        if is_tuned:
            # Second derivatives would take it hours on one core.
            tuning = mct.gptq.get_keras_gptq_config(
                n_epochs=job.budget.epochs,
                use_hessian_based_weights=False,
                use_hessian_sample_attention=False,
            )
            quantized, found = mct.gptq.keras_gradient_post_training_quantization(
                model, batches, tuning, batches_of(arrays.train.images), most, config, device
            )
        else:
            quantized, found = mct.ptq.keras_post_training_quantization(
                model, batches, most, config, device
            )
        file = job.folder / FILE
        formats = mct.exporter.QuantizationFormat
        mct.exporter.keras_export_model(
            quantized,
            str(file),
            serialization_format=mct.exporter.KerasExportSerializationFormat.TFLITE,
            quantization_format=formats.FAKELY_QUANT if is_mixed else formats.INT8,
        )
        if not is_mixed:
            return Compressed(file=file.read_bytes(), trained=is_tuned)
        bits = 8 * float(found.final_resource_utilization.weights_memory) / weights
        note = "Its LiteRT file holds floats that stand on the levels."
        return Compressed(file=file.read_bytes(), trained=is_tuned, mean_bits=bits, notes=(note,))

    outputs = np.asarray(model.predict(arrays.test.images[:PROBES], verbose=0))
    return Prepared(outputs, compress, ("model-compression-toolkit", "tensorflow-cpu"))
