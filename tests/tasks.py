"""Tasks of one output, for tests that need one without a model to read it off."""

import keras

from pocketkube.measures import Classes, Points, Values
from pocketkube.training.heads import ClassHead, PointHead, ValueHead
from pocketkube.training.losses import LandmarkLoss
from pocketkube.training.task import Task


def class_task(num_classes: int = 10, *, from_logits: bool = True) -> Task:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    known = {"num_classes": num_classes, "from_logits": from_logits}
    return Task((ClassHead("output", Classes(), loss, **known),), "cross-entropy")


def value_task() -> Task:
    return Task((ValueHead("output", Values(), keras.losses.MeanSquaredError()),), "squared error")


def point_task(points: Points) -> Task:
    return Task((PointHead("output", points, LandmarkLoss(points.normalize_by)),), "smooth L1")
