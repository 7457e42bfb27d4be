"""Finds each layer's kept channels, sparsity and bits, under a budget for the whole network.

What samplers and the suggestion service need (space, problem, projection, samplers) knows no Keras.
"""
