"""How much each method may see and train: the same for all."""

from dataclasses import asdict, dataclass
from typing import Any

WEIGHT_DECAY, WARMUP, FINAL_PART = 0.01, 0.2, 1e-3


@dataclass(frozen=True)
class Budget:
    """The data, and the courses of training.

    Training is AdamW with a decoupled decay of 0.01 on kernels, its rate climbing for a fifth of the
    steps and falling with a cosine after; the weights of the last step count.

    Attributes:
        train: Training and validation images together.
        validation_fraction: Part of them that is held out for decisions.
        test: Test images; all if None.
        dense_epochs: Of the uncompressed network.
        epochs: Of fine-tuning, or of the training in which a method compresses.
        batch_size: Images of a step.
        learning_rate: The schedule's peak.
        shift: Pixels that training images move at most.
        calibration: Training images that methods look at without training.
        search_images: Validation images that score a trial of a search.
        trials: Of each search.
        hessian_samples: Images whose second derivatives model-compression-toolkit estimates.
    """

    train: int = 20_000
    validation_fraction: float = 0.1
    test: int | None = None
    dense_epochs: int = 8
    epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 0.01
    shift: int = 3
    calibration: int = 512
    search_images: int = 1000
    trials: int = 30
    hessian_samples: int = 32

    def training(self, epochs: int) -> dict[str, Any]:
        """A spec's section training."""
        return {
            "epochs": epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "weight_decay": WEIGHT_DECAY,
            "warmup_fraction": WARMUP,
            "keep": "last",
            "augmentation": {"shift": self.shift},
        }

    def document(self) -> dict[str, Any]:
        """What a JSON file says of it."""
        return asdict(self)


FULL = Budget()
QUICK = Budget(
    train=600,
    test=300,
    dense_epochs=2,
    epochs=1,
    batch_size=32,
    calibration=64,
    search_images=60,
    trials=2,
    hessian_samples=1,
)
