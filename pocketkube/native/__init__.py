"""Native code that may take its process down with it, TensorFlow's converter and LiteRT, in children."""
