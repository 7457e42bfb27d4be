"""Measures LiteRT files side by side on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from rich.table import Table

from pocketkube.api.keywords import BenchmarkKeywords, settings_of, settings_shown
from pocketkube.api.shown import Shown
from pocketkube.benchmarking import BenchmarkReport, FileFigures, render_table
from pocketkube.benchmarking import benchmark as measure
from pocketkube.benchmarking.samples import Samples
from pocketkube.errors import UserError
from pocketkube.figures import milliseconds
from pocketkube.files.whole import place_of
from pocketkube.litert.flatbuffer import input_ranks
from pocketkube.spec.sections import Benchmark


@dataclass(frozen=True, repr=False)
class Benchmarked(Shown):
    """What was measured of some LiteRT files.

    Attributes:
        report: All figures.
    """

    report: BenchmarkReport

    @property
    def files(self) -> tuple[FileFigures, ...]:
        """The figures of each file, in the order given."""
        return self.report.files

    @property
    def latency_ratio(self) -> float | None:
        """Latency of the first file over that of the last; None for a single file."""
        return self.report.latency_ratio

    @property
    def in_brief(self) -> str:
        """The files and their latencies."""
        return ", ".join(f"{each.file}: {milliseconds(each.latency_ms.p50)}" for each in self.files)

    def table(self) -> Table:
        """A row for each figure, a column for each file."""
        return render_table(self.report)


@settings_shown
def benchmark(
    *files: str | Path, data: Any = None, **settings: Unpack[BenchmarkKeywords]
) -> Benchmarked:
    """Measures latency, memory, size and score of LiteRT files, in turn with each other.

    Args:
        files: One .tflite file or more; the last is compared with the first.
        data: Examples, as for `fine_tune`, of which the held-out test examples are run, and scored
            where there are labels; or the path of an .npz of test examples alone. Without, latency is
            measured on random numbers and there is no score.
        settings: Those of a spec's benchmark: runs, precision, max_seconds, warmup_runs, threads.

    Returns:
        The figures; `.show()` prints them as a table.

    Raises:
        UserError: If a file is missing or damaged, or examples do not fit it.

    Example:
        >>> import tempfile, pocketkube as pk
        >>> from pathlib import Path
        >>> from pocketkube.models import build_model
        >>> model = build_model("lenet", (28, 28, 1), 10, width=0.25)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pk.export(model, Path(folder) / "net.tflite").path
        ...     found = pk.benchmark(file, runs=5, max_seconds=1, threads=[1])
        >>> found.files[0].file, found.files[0].latency_ms.p50 > 0
        ('net.tflite', True)
    """
    for file in files:
        if not isinstance(file, str | Path):
            raise UserError(
                "benchmark: takes the paths of .tflite files, as in pk.benchmark(pk.export(model, "
                f'"net.tflite").path); received {file!r:.80}.'
            )
    parsed = settings_of("benchmark", Benchmark, settings)
    places = [place_of(str(file), Path()) for file in files]
    return Benchmarked(measure(places, parsed, _samples(data, places)))


def _samples(data: Any, files: Sequence[Path]) -> Samples | Path | None:
    if data is None:
        return None
    if isinstance(data, str | Path) and str(data).endswith(".npz"):
        return place_of(str(data), Path())
    # TensorFlow, for data alone: files are measured without.
    from pocketkube.api.data import dataset_of
    from pocketkube.data.batches import materialize

    elements = getattr(data, "element_spec", None)
    structure = data if elements is None else elements
    if isinstance(structure, tuple) and any(isinstance(x, Mapping) and len(x) > 1 for x in structure):
        raise UserError(
            "benchmark: data: files do not know a model's names; give several inputs or labels as a "
            "list in the order of the model's, not as a dict."
        )
    rank = input_ranks(files[0])[0] if files and elements is not None else None
    dataset = dataset_of(data, None, "benchmark", rank)
    return Samples(dataset.name, *materialize(dataset.test, None, 0))
