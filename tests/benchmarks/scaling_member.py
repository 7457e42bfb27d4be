"""One of the processes that `scaling` measures: it works when it is told to, and says how fast."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tests.benchmarks import scaling

_RANKS = ("OMPI_COMM_WORLD_RANK", "PLACE")
# Whatever traces, allocates or compiles.
_WARM_STEPS = 3


class Enough(Exception):
    """All turns were taken."""


def main() -> None:
    """Takes all turns."""
    name, number, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    place = next((os.environ[each] for each in _RANKS if each in os.environ), None)
    if place is None:
        # An elastic worker's name ends in the number of its place.
        place = os.environ.get("HOROVOD_HOSTNAME", "-0").rpartition("-")[2]
    # Ranks that are started as `training.workers` starts them have cores of their own already.
    cores = sorted(os.sched_getaffinity(0))
    free = range(os.cpu_count() or 1)
    os.sched_setaffinity(0, free if name == scaling.FREE else {cores[int(place) % len(cores)]})
    _put(folder / f"{number}-{place}-pid", str(os.getpid()))
    work = _WORK.get(name, _ours)
    turns = Turns(
        folder, f"{number}-{place}", f"{number}-go", name in (scaling.GLOO, scaling.FREE, scaling.MPI)
    )
    work(turns)


class Turns:
    """When to work.

    Args:
        folder: Where turns are given and times are told.
        own: What files of this process begin with.
        go: What files that give turns begin with.
        shares: Whether it is one of Horovod's ranks.
    """

    def __init__(self, folder: Path, own: str, go: str, shares: bool) -> None:
        settings = json.loads((folder / "settings.json").read_text())
        self.steps, self.rounds = settings["steps"], settings["rounds"]
        # So many that no epoch ends before the last turn, with two processes and a fifth held out.
        self.examples = 3 * scaling.BATCH * (_WARM_STEPS + 3 + (self.rounds + 2) * self.steps)
        self._folder, self._own, self._go, self._shares = folder, own, go, shares
        self._turn = -1
        self._times: list[float] = []
        self._processor: list[float] = []

    def begin(self) -> None:
        """Waits until this process is to build a network and to warm up."""
        if self._turn < 0:
            _put(self._folder / f"{self._own}-ready", "")
            self._wait()
        self._times, self._processor = [], []

    def before_step(self) -> None:
        """Called before each step.

        Raises:
            Enough: If this network's turns are over.
        """
        self._times.append(time.perf_counter())
        self._processor.append(time.process_time())
        place = self._turn % (self.rounds + 2)
        if len(self._times) <= (self.steps if place else _WARM_STEPS):
            return
        seconds, processor = (median(np.diff(each)) for each in (self._times, self._processor))
        share = self._on_the_way() if place == self.rounds + 1 else 0.0
        self._done(float(seconds), float(processor), share)
        self._wait()
        place = self._turn % (self.rounds + 2)
        if place == 0:
            raise Enough
        if place == self.rounds + 1 and self._shares:
            import horovod.tensorflow as hvd

            hvd.start_timeline(str(self._timeline))
        self._times, self._processor = [time.perf_counter()], [time.process_time()]

    @property
    def _timeline(self) -> Path:
        return self._folder / f"{self._own}-timeline-{self._turn}.json"

    def _on_the_way(self) -> float:
        if not self._shares:
            return 0.0
        import horovod.tensorflow as hvd

        from tests.horovod_timeline import busy_us, sent_tensors

        hvd.stop_timeline()
        if not self._timeline.exists():
            return 0.0
        return busy_us(sent_tensors(self._timeline)) / 1e6 / (self._times[-1] - self._times[0])

    def _done(self, seconds: float, processor: float, share: float) -> None:
        found = json.dumps({"seconds": seconds, "processor": processor, "on_the_way": share})
        _put(self._folder / f"{self._own}-done-{self._turn}.json", found)

    def _wait(self) -> None:
        self._turn += 1
        while not (self._folder / f"{self._go}-{self._turn}").exists():
            time.sleep(0.005)


def _put(file: Path, text: str) -> None:
    made = file.with_suffix(".part")
    made.write_text(text)
    made.rename(file)


def _arrays(count: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    images = draw.normal(size=(count, *scaling.SHAPE)).astype("float32")
    return images, draw.integers(0, scaling.CLASSES, count).astype("int32")


def _networks() -> Iterator[Any]:
    from pocketkube.models import build_model

    for width in scaling.NETWORKS.values():
        yield build_model("resnet20", scaling.SHAPE, scaling.CLASSES, width=width)


def _splits(model: Any, turns: Turns) -> Any:
    from pocketkube.api.data import Splits, dataset_of

    return dataset_of(Splits(_arrays(turns.examples), test=_arrays(64)), model, "scaling")


def _ours(turns: Turns) -> None:
    from pocketkube.spec.sections import Training
    from pocketkube.training.loop import train
    from pocketkube.training.method import Method
    from pocketkube.training.workers import started_workers
    from tests.tasks import class_task

    class Paced(Method):
        def before_step(self, step: int, steps: int, optimizer: Any) -> None:
            turns.before_step()

    size = started_workers().size
    settings = Training(epochs=1000, batch_size=size * scaling.BATCH, checkpoint_steps=10**6)
    turns.begin()
    for model in _networks():
        turns.begin()
        with suppress(Enough):
            train(model, _splits(model, turns), class_task(), settings, seed=0, method=Paced())


def _keras(turns: Turns) -> None:
    import keras
    import tensorflow as tf

    class Paced(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            turns.before_step()

    data = tf.data.Dataset.from_tensor_slices(_arrays(turns.examples)).shuffle(turns.examples).repeat()
    data = data.batch(scaling.BATCH).prefetch(2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    turns.begin()
    for model in _networks():
        turns.begin()
        model.compile(keras.optimizers.AdamW(2e-3), loss, metrics=["accuracy"])
        with suppress(Enough):
            model.fit(data, steps_per_epoch=10**6, verbose=0, callbacks=[Paced()])


def _input(turns: Turns) -> None:
    from pocketkube.data.batches import batches

    turns.begin()
    for model in _networks():
        turns.begin()
        examples = _splits(model, turns).train
        with suppress(Enough):
            for epoch in range(10**6):
                for _ in batches(examples, scaling.BATCH, epoch_seed=(0, epoch), drop_remainder=True):
                    turns.before_step()


def _torch(turns: Turns) -> None:
    import torch

    from tests.benchmarks.torch_resnet import resnet20

    torch.set_num_threads(1)
    turns.begin()
    for width in scaling.NETWORKS.values():
        turns.begin()
        images, labels = _arrays(turns.examples)
        images = (
            torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        )
        labels = torch.from_numpy(labels).long()
        model = resnet20(width, scaling.CLASSES).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
        with suppress(Enough):
            while True:
                for rows in torch.randperm(len(images)).split(scaling.BATCH):
                    turns.before_step()
                    optimizer.zero_grad()
                    loss = torch.nn.functional.cross_entropy(model(images[rows]), labels[rows])
                    loss.backward()
                    optimizer.step()
                    loss.item()


_WORK: dict[str, Callable[[Turns], None]] = {
    scaling.KERAS: _keras,
    scaling.INPUT: _input,
    scaling.TORCH: _torch,
}

if __name__ == "__main__":
    main()
