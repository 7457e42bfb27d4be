"""The networks that are compressed, and the images that they take."""

from dataclasses import dataclass, replace

from tests.benchmarks.peers.budget import Budget

FASHION_MNIST, DIGITS = "Fashion-MNIST", "handwritten digits"


@dataclass(frozen=True)
class Network:
    """A reference network.

    Attributes:
        model: Its name in `pocketkube.models`.
        width: What its channels are multiplied by.
        pixels: Height and width of an image.
        images: The data set.
        passes: What epochs are multiplied by: few images are gone through more often.
    """

    model: str
    width: float
    pixels: int
    images: str = FASHION_MNIST
    passes: int = 1

    def course(self, budget: Budget) -> Budget:
        """A budget with this network's epochs."""
        return replace(
            budget,
            dense_epochs=self.passes * budget.dense_epochs,
            epochs=self.passes * budget.epochs,
        )


# Above 64 pixels MobileNets have all strides of their papers.
NETWORKS = {
    "resnet20": Network("resnet20", 1.0, 28),
    "mobilenet_v1-0.5": Network("mobilenet_v1", 0.5, 72),
    "mobilenet_v1-1.0": Network("mobilenet_v1", 1.0, 72),
    "mobilenet_v2-0.5": Network("mobilenet_v2", 0.5, 72),
    "mobilenet_v2-1.0": Network("mobilenet_v2", 1.0, 72),
    "mobilenet_v1-0.5-digits": Network("mobilenet_v1", 0.5, 72, DIGITS, passes=8),
    "mobilenet_v1-1.0-digits": Network("mobilenet_v1", 1.0, 72, DIGITS, passes=8),
    "mobilenet_v2-0.5-digits": Network("mobilenet_v2", 0.5, 72, DIGITS, passes=8),
    "mobilenet_v2-1.0-digits": Network("mobilenet_v2", 1.0, 72, DIGITS, passes=8),
}
