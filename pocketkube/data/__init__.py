"""The data sets a spec can name, as tf.data pipelines."""
