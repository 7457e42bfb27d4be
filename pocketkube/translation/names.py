"""What the two parts of a translator and their inputs and outputs are called."""

ENCODE, DECODE = "encode", "decode"
SOURCE, TOKEN, POSITION, LOGITS = "source", "token", "position", "logits"
