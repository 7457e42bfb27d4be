"""The stage that puts weights and activations on evenly spaced levels."""

from collections.abc import Mapping
from pathlib import Path

from pocketkube.bundle import Bundle
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Dataset
from pocketkube.stages.assessment import is_sparse
from pocketkube.stages.begun import Begun, begin_quantizing
from pocketkube.stages.configs import QuantizeWeightsConfig
from pocketkube.stages.searched import with_found
from pocketkube.stages.training import train_on


def quantize_weights(
    config: QuantizeWeightsConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Calibrates a model's levels, trains it with them, and writes the bundle of what it becomes."""
    settings = with_found(config.settings, inputs)

    def begin(student: Bundle, dataset: Dataset | None) -> Begun:
        assert dataset is not None
        calibration, _ = materialize(dataset.train, settings.calibration_examples, config.seed)
        keeps_zeros = is_sparse(student.facts)
        return begin_quantizing(
            student.model, settings, calibration, config.seed, keeps_zeros=keeps_zeros
        )

    train_on(config, inputs, output, scratch, begin)
