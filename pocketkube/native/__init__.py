"""Native code that may take its process down, TensorFlow's converter and LiteRT, in child processes."""
