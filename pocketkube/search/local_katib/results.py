"""What came of an experiment, as files: a table of trials, and a summary with the best assignment."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketkube.files.whole import replaced_file, write_text
from pocketkube.search.local_katib.ending import Ending, best_of
from pocketkube.search.local_katib.experiment import Experiment, Strategy
from pocketkube.search.local_katib.metrics import Reported
from pocketkube.search.local_katib.trial import Trial

TABLE_FILE, SUMMARY_FILE, METRICS_TABLE = "trials.csv", "experiment.json", "metrics.csv"


@dataclass(frozen=True)
class Result:
    """What came of an experiment.

    Attributes:
        name: The experiment's.
        ending: How it has ended; None where it was interrupted.
        best: The best trial; None where none has a value.
        trials: All of them, in the order of their numbers.
        parameters: The names of the parameters.
        strategies: Which value of each metric counts, by the metric's name.
    """

    name: str
    ending: Ending | None
    best: Trial | None
    trials: tuple[Trial, ...]
    parameters: tuple[str, ...]
    strategies: Mapping[str, Strategy]

    @classmethod
    def of(cls, experiment: Experiment, trials: Sequence[Trial], ending: Ending | None) -> "Result":
        """The result of an experiment with these trials."""
        return cls(
            experiment.name,
            ending,
            best_of(experiment, trials),
            tuple(trials),
            tuple(each.name for each in experiment.parameters),
            dict(experiment.objective.strategies),
        )

    def to_dict(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "experiment": self.name,
            "ending": asdict(self.ending) if self.ending else None,
            "best": asdict(self.best) if self.best else None,
            "trials": [asdict(trial) for trial in self.trials],
        }

    def metric(self, trial: Trial, name: str) -> float | None:
        """The value of a trial's metric that counts; None where it has none."""
        observed = trial.metrics.get(name)
        return None if observed is None else observed.counted(self.strategies[name])


def write_results(folder: Path, result: Result) -> None:
    """Writes `trials.csv` and `experiment.json`.

    Args:
        folder: Where to.
        result: What came of the experiment.
    """
    write_text(folder / SUMMARY_FILE, json.dumps(result.to_dict(), indent=1) + "\n")
    metrics = list(result.strategies)
    with replaced_file(folder / TABLE_FILE) as aside, aside.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["number", "trial", "state", *result.parameters, *metrics, "seconds", "cause"])
        for trial in result.trials:
            values = [result.metric(trial, name) for name in metrics]
            table.writerow(
                [
                    trial.number,
                    trial.name,
                    trial.state,
                    *(trial.assignment[name] for name in result.parameters),
                    *("" if value is None else value for value in values),
                    trial.seconds,
                    trial.cause,
                ]
            )


def write_metrics(folder: Path, reports: Sequence[Reported]) -> None:
    """Writes all values that a trial reported, in their order, as `metrics.csv`.

    Args:
        folder: The trial's.
        reports: The values.
    """
    with replaced_file(folder / METRICS_TABLE) as aside, aside.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["metric", "value"])
        table.writerows([each.metric, each.value] for each in reports)
