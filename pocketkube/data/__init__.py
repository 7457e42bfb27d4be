"""The data sets a spec can name, as tf.data pipelines."""

from pocketkube.data.dataset import Arrays, Dataset, Examples
from pocketkube.data.load import load_dataset

__all__ = ["Arrays", "Dataset", "Examples", "load_dataset"]
