"""Prunes, fine-tunes and quantizes a small network, as in a notebook; writes two files here."""

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import pocketkube as pk

images, labels = load_digits(return_X_y=True)
x, x_test, y, y_test = train_test_split(images.reshape(-1, 8, 8, 1) / 16, labels, random_state=0)
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(10),
    ]
)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x, y, epochs=5, verbose=0)

data = pk.Splits((x, y), test=(x_test, y_test))
small = pk.prune(model, speedup=2, data=data)
small = pk.fine_tune(small, data, teacher=model)
small = pk.quantize(small, data, bits=8)
pk.compare(model, small, data).show()
pk.export(model, "old.tflite")
pk.export(small, "net.tflite", data).show()
pk.benchmark("old.tflite", "net.tflite", threads=[1]).show()
