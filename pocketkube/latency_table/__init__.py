"""The latency table: how long each kind of operation takes on a device, at which numbers of channels.

What reads a table and predicts from it needs NumPy and pydantic alone; what measures one needs LiteRT
too; only what prunes networks to measure needs Keras.
"""
