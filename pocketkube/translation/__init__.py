"""What turns a model of translation into translations: decoding step by step, beam search, BLEU."""
