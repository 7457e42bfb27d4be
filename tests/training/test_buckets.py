"""What travels between ranks: in which messages, when, and that all ranks end with the same."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from pocketkube.training.buckets import buckets
from tests.fuzzing import fuzzed
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
from test_loop import *
from pocketkube.ranks import started_first
from pocketkube.training.workers import started_workers
folder = Path(sys.argv[1])
data = load_dataset(DatasetSettings(builtin="digits", image_size=(8, 8)))
found = {{}}

def trained(name, settings):
    model = net()
    history = train(model, data, CLASSIFY, settings, seed=0)
    np.savez(folder / f"{{name}}-{{int(not started_first())}}.npz", *model.get_weights())
    found[name] = history.loss

trained("whole", course(epochs=2))
os.environ["HOROVOD_FUSION_THRESHOLD"] = "1000"
trained("buckets", course(epochs=2))

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
if started_first():
    (folder / "found.json").write_text(json.dumps(found))
"""


def weights(folder: Path, name: str) -> list[list[np.ndarray]]:
    ranks = [np.load(folder / f"{name}-{rank}.npz") for rank in (0, 1)]
    return [[rank[each] for each in rank.files] for rank in ranks]


@needs_horovod
def test_what_ranks_learn_does_not_depend_on_the_messages_which_need_not_wait(tmp_path: Path) -> None:
    run_ranks(2, RANKS, tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["buckets"] == found["whole"]
    for one, other in zip(*weights(tmp_path, "whole"), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(weights(tmp_path, "whole")[0], weights(tmp_path, "buckets")[0], strict=True):
        np.testing.assert_array_equal(one, other)
    # The kernel next to the images comes last, and holds up its own message alone.
    assert found["waits"] == [False] * (len(found["waits"]) - 1) + [True]
    assert len(found["waits"]) >= 3
