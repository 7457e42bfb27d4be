"""LiteRT files: run, and looked into; nothing here imports TensorFlow or Keras."""
