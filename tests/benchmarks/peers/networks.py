"""The networks that are compressed, and the images that they take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """A reference network.

    Attributes:
        model: Its name in `pocketkube.models`.
        width: What its channels are multiplied by.
        pixels: Height and width of an image.
    """

    model: str
    width: float
    pixels: int


# Above 64 pixels MobileNets have all strides of their papers.
NETWORKS = {
    "resnet20": Network("resnet20", 1.0, 28),
    "mobilenet_v1-0.5": Network("mobilenet_v1", 0.5, 72),
    "mobilenet_v1-1.0": Network("mobilenet_v1", 1.0, 72),
    "mobilenet_v2-0.5": Network("mobilenet_v2", 0.5, 72),
    "mobilenet_v2-1.0": Network("mobilenet_v2", 1.0, 72),
}
