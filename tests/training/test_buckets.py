"""What travels between ranks: in which messages, with how many bits, and that all end with the same."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from pocketkube.training.buckets import buckets
from tests.fuzzing import fuzzed
from tests.horovod_timeline import numbers_by_type, sent_tensors
from tests.training.test_loop import needs_horovod, run_ranks

TYPES = [tf.float32, tf.float16]
SHAPES = st.lists(st.integers(1, 5), max_size=3)


@fuzzed()
@given(st.lists(st.tuples(SHAPES, st.sampled_from(TYPES)), max_size=12), st.integers(0, 300))
def test_each_tensor_is_in_one_bucket_from_the_last_to_the_first(drawn, most) -> None:
    tensors = [tf.zeros(shape, kind) for shape, kind in drawn]
    found = buckets(tensors, most)
    assert sorted(place for bucket in found for place in bucket) == list(range(len(tensors)))
    for kind in TYPES:
        in_turn = [place for bucket in found for place in bucket if tensors[place].dtype == kind]
        assert in_turn == sorted(in_turn, reverse=True)
    for bucket in found:
        assert len({tensors[place].dtype for place in bucket}) == 1
        size = sum(tensors[place].numpy().nbytes for place in bucket)
        assert size <= most or len(bucket) == 1


RANKS = """
import json, sys
sys.path.insert(0, {tests!r})
import horovod.tensorflow as hvd
from test_loop import *
from pocketkube.processes.ranks import started_first
from pocketkube.training.workers import started_workers
folder = Path(sys.argv[1])
data = load_dataset(DatasetSettings(builtin="digits", image_size=(8, 8)))
rank = int(not started_first())
found = {{"refused": None, "steps": 2 * (data.train.size // 64)}}
os.environ["HOROVOD_TIMELINE"] = "DYNAMIC"

class Times(Method):
    def __init__(self, factor):
        self._factor, self.fingerprint = factor, str(factor)

    def gradients(self, gradients, variables):
        return [each * self._factor for each in gradients]

def trained(name, settings, method=None):
    model = net()
    history = train(model, data, CLASSIFY, settings, seed=0, method=method)
    np.savez(folder / f"{{name}}-{{rank}}.npz", *model.get_weights())
    found[name] = history.loss

half = course(epochs=2, gradient_compression="fp16")
trained("whole", course(epochs=2))
os.environ["HOROVOD_FUSION_THRESHOLD"] = "1000"
for name, settings in (("buckets", course(epochs=2)), ("half", half)):
    hvd.start_timeline(str(folder / f"{{name}}-{{rank}}.json"))
    trained(name, settings)
    hvd.stop_timeline()
# Too large at first: the scale goes down until 16 bits hold them.
trained("large", half, Times(1e4))
try:
    trained("too large", half, Times(1e30))
except UserError as error:
    found["refused"] = str(error)

model, workers = net(), started_workers()

@tf.function
def averaged(images):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True))
    return workers.average(tape.gradient(loss, [v.value for v in model.trainable_variables]))

def needs(op, seen):
    if op.name not in seen:
        seen[op.name] = op.type
        for each in op.inputs:
            needs(each.op, seen)
    return set(seen.values())

graph = averaged.get_concrete_function(tf.zeros((4, 8, 8, 1))).graph
sent = [op for op in graph.get_operations() if op.type == "HorovodGroupedAllreduce"]
found["waits"] = ["Conv2DBackpropFilter" in needs(op, {{}}) for op in sent]
if rank == 0:
    (folder / "found.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(2, RANKS, folder)
    return SimpleNamespace(folder=folder, **json.loads((folder / "found.json").read_text()))


def weights(folder: Path, name: str) -> list[list[np.ndarray]]:
    """Of each rank."""
    ranks = [np.load(folder / f"{name}-{rank}.npz") for rank in (0, 1)]
    return [[rank[each] for each in rank.files] for rank in ranks]


@needs_horovod
def test_what_ranks_learn_does_not_depend_on_the_messages(ranks) -> None:
    assert ranks.buckets == ranks.whole
    pairs = zip(*(weights(ranks.folder, name)[0] for name in ("whole", "buckets")), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


@needs_horovod
@pytest.mark.parametrize("name", ["whole", "buckets", "half", "large"])
def test_all_ranks_end_with_the_same_weights(ranks, name) -> None:
    pairs = zip(*weights(ranks.folder, name), strict=True)
    assert all(np.array_equal(one, other) and np.isfinite(one).all() for one, other in pairs)


@needs_horovod
def test_messages_need_not_wait_for_the_last_gradient(ranks) -> None:
    """Which is that of the kernel next to the images: it holds up its own message alone."""
    assert ranks.waits == [False] * (len(ranks.waits) - 1) + [True]
    assert len(ranks.waits) >= 3


@needs_horovod
def test_half_the_bytes_of_gradients_travel_and_all_of_figures(ranks) -> None:
    """As Horovod has written it down."""
    whole, half = (
        numbers_by_type(sent_tensors(ranks.folder / f"{name}-0.json")) for name in ("buckets", "half")
    )
    trained = sum(each.size for each in weights(ranks.folder, "half")[0]) - 2 * 8
    assert half["float16"] == ranks.steps * trained
    assert whole["float32"] == half["float32"] + half["float16"]
    assert whole["float16"] == 0


@needs_horovod
def test_half_the_bits_lead_to_the_same_and_what_is_too_large_is_seen(ranks) -> None:
    np.testing.assert_allclose(ranks.half, ranks.whole, rtol=0.01)
    assert ranks.large[-1] < ranks.large[0]
    assert "gradients of 32 steps in a row are no numbers in 16 bits" in ranks.refused
    assert "leave out training.gradient_compression" in ranks.refused
