"""Makes a subclassed model the one layer of a functional one, for those that are called and no more."""

import keras

from pocketkube.errors import UserError, first_line
from pocketkube.graph.walk import functional_graph, is_model
from pocketkube.keras_private import compiled_loss, inputs_structure, origin
from pocketkube.training.compiled import is_compiled


def enclosed(model: keras.Model, like: keras.Model) -> keras.Model:
    """A functional model that computes what a subclassed one does; any other model as it is.

    Args:
        model: A model of any kind.
        like: A functional or sequential model that takes the same inputs.

    Returns:
        A model whose one layer is the subclassed one, with its weights and its loss.

    Raises:
        UserError: If it has no loss, without which nothing says what its outputs are, or it cannot be
            called with such inputs.
    """
    if is_model(model):
        return model
    if not is_compiled(model):
        raise UserError(
            f"The model {model.name} is a subclassed one ({type(model).__name__}), of which its loss "
            f"alone says what its outputs are: compile it with that, as in {model.name}.compile("
            "loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))."
        )
    given = keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=origin(x)[0].name),
        inputs_structure(functional_graph(like)),
    )
    try:
        whole = keras.Model(given, model(given), name=model.name)
    except Exception as error:
        # Its call is the user's own code, which may raise anything.
        raise UserError(
            f"The model {model.name} cannot be called with the inputs of {like.name}: "
            f"{first_line(error)}"
        ) from error
    loss, weights = compiled_loss(model)
    whole.compile(loss=loss, loss_weights=weights)
    return whole
