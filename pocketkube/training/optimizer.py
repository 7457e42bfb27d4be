"""The optimizer of a course of training."""

from collections.abc import Sequence
from typing import Any

import keras

from pocketkube.spec.sections import Training
from pocketkube.training.layerwise import Lamb, Lars


def build_optimizer(model: keras.Model, extra: Sequence[Any], settings: Training) -> Any:
    """The optimizer that the settings ask for, built for all that it changes.

    Args:
        model: The model; what it trains comes first.
        extra: Variables that are trained beside the model's. Weight decay spares them.
        settings: The course of training.

    Returns:
        A Keras optimizer; a `LossScaleOptimizer` where gradients have 16 bits somewhere.
    """
    common: dict[str, Any] = {
        "learning_rate": settings.learning_rate,
        "global_clipnorm": settings.clip_norm,
    }
    if settings.ema is not None:
        common |= {"use_ema": True, "ema_momentum": settings.ema}
    # Decay shrinks what multiplies channels into others, never a scale or an offset.
    spared = [v for v in model.trainable_variables if len(v.shape) < 2]
    decay, momentum = settings.weight_decay, settings.momentum
    match settings.optimizer:
        case "adamw":
            optimizer = keras.optimizers.AdamW(weight_decay=decay, **common)
        case "sgd":
            optimizer = keras.optimizers.SGD(
                momentum=momentum, nesterov=True, weight_decay=decay, **common
            )
        case "rmsprop":
            # TensorFlow's RMSProp of those years, by whose epsilon rates of 0.045 are no divergence.
            optimizer = keras.optimizers.RMSprop(
                rho=0.9, momentum=momentum, epsilon=1.0, weight_decay=decay, **common
            )
        case "lars":
            optimizer = Lars(momentum=momentum, decay=decay, **common)
        case "lamb":
            optimizer = Lamb(decay=decay, **common)
    optimizer.exclude_from_weight_decay(var_list=[*spared, *extra])
    if settings.scales_loss:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build([*model.trainable_variables, *extra])
    return optimizer
