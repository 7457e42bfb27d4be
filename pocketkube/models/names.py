"""The names of the reference networks, for whoever asks before there is Keras."""

from pocketkube.errors import UserError, to_use_instead
from pocketkube.extension import models

MODEL_NAMES = (
    "lenet",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet18",
    "resnet50",
    "mobilenet_v1",
    "mobilenet_v2",
)
# Those that translate.
TRANSLATION_NAMES = ("transformer", "transformer_tiny")
BUILT_IN_NAMES = (*MODEL_NAMES, *TRANSLATION_NAMES)


def check_name(name: str) -> None:
    """Refuses a network that is neither built in nor added by a package.

    Args:
        name: What a spec calls it.

    Raises:
        UserError: If there is no such network.
    """
    known = models.names(BUILT_IN_NAMES)
    if name not in known:
        raise UserError(
            f"There is no network {name!r}{to_use_instead(name, known)}, or the path of a .keras file "
            "or of a SavedModel, a folder with saved_model.pb."
        )
