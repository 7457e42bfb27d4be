"""Runs an experiment: asks for trials, runs them side by side, and ends when Katib would."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.files.overwriting import refuse_overwriting
from pocketkube.processes.children import end_trees
from pocketkube.search.local_katib.algorithms import suggester_of
from pocketkube.search.local_katib.early_stopping import rule_for_next
from pocketkube.search.local_katib.ending import Ending, best_of, ending_of
from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.journal import JOURNAL_FILE, Journal
from pocketkube.search.local_katib.metrics import first_mean, observe
from pocketkube.search.local_katib.notes import notes_on, too_short
from pocketkube.search.local_katib.process import Ended, TrialProcess, missing, names_file
from pocketkube.search.local_katib.reading import read_experiment
from pocketkube.search.local_katib.results import (
    SUMMARY_FILE,
    TABLE_FILE,
    Result,
    write_metrics,
    write_results,
)
from pocketkube.search.local_katib.template import Command, command_of
from pocketkube.search.local_katib.trial import Trial

TRIALS_FOLDER = "trials"
_POLL_S = 0.05


def run_experiment(path: Path, output: Path | None, say: Callable[[str], None]) -> Result:
    """Runs an experiment to its end, or goes on with one that was interrupted.

    The folder holds `trials.csv`, `experiment.json` with the best assignment, each trial's log and
    metrics below `trials`, and the journal.

    Args:
        path: The Experiment's YAML file; trials run in its folder.
        output: The folder for results; `runs/NAME` where None.
        say: Takes a line on each step.

    Returns:
        What came of it, whether Katib would say that it has succeeded or not.

    Raises:
        UserError: If the experiment is wrong, cannot be run here, would be written over, or the folder
            holds another one.
    """
    experiment = read_experiment(path)
    folder = (output or Path("runs") / experiment.name).resolve()
    names = (SUMMARY_FILE, TABLE_FILE, JOURNAL_FILE, TRIALS_FOLDER)
    refuse_overwriting([("the experiment", path)], [folder / name for name in names])
    command = _first_command(experiment)
    with Journal(folder, experiment) as journal:
        for note in notes_on(experiment, command):
            say(f"note: {note}")
        run = _Run(experiment, folder, journal, say)
        try:
            ending = run.to_its_end()
        except BaseException:
            run.end_processes()
            write_results(folder, Result.of(experiment, journal.trials, None))
            raise
        result = Result.of(experiment, journal.trials, ending)
        write_results(folder, result)
    if note := too_short(min([t.seconds for t in result.trials if t.value is not None], default=9.0)):
        say(f"note: {note}")
    return result


def _first_command(experiment: Experiment) -> Command:
    """The command with any values in it, looked through before anything runs."""
    assignment = {each.name: each.value_at(0.5) for each in experiment.parameters}
    command = command_of(experiment, f"{experiment.name}-0", assignment)
    if names := missing(command, os.environ):
        raise UserError(
            f"The cluster gives the trials {', '.join(names)}; set it in the environment here."
        )
    folder = experiment.folder / command.folder
    if not folder.is_dir():
        raise UserError(f"The container's workingDir, {command.folder}, is no folder of this machine.")
    place = experiment.collector.path
    if place and not names_file(command, place):
        raise UserError(
            f"The metrics file, {place}, is named neither in the container's command nor in its "
            "variables: there it is put into each trial's own folder here; give it as an argument."
        )
    return command


class _Run:
    """An experiment that runs; nothing of it is lost with the process, for the journal has it all."""

    def __init__(
        self, experiment: Experiment, folder: Path, journal: Journal, say: Callable[[str], None]
    ) -> None:
        self._experiment, self._folder, self._journal, self._say = experiment, folder, journal, say
        self._running: dict[int, TrialProcess] = {}
        self._nothing_left = False

    def to_its_end(self) -> Ending:
        """Runs until the experiment has ended."""
        interrupted = [trial for trial in self._journal.trials if trial.state == "Running"]
        ended = len(self._journal.trials) - len(interrupted)
        if ended or interrupted:
            self._say(f"goes on after {ended} trials; {len(interrupted)} more were interrupted")
        self._refuse_restart()
        waiting = list(interrupted)
        while True:
            ending = self._ending()
            if ending is not None:
                self._kill_rest()
                self._journal.ends(ending.reason)
                return ending
            while len(self._running) < self._experiment.parallel:
                trial = waiting.pop(0) if waiting else self._next()
                if trial is None:
                    break
                self._start(trial)
            time.sleep(_POLL_S)
            self._collect()

    def end_processes(self) -> None:
        """Ends what runs."""
        end_trees([each.process for each in self._running.values()])

    def _ending(self) -> Ending | None:
        return ending_of(self._experiment, self._journal.trials, nothing_left=self._nothing_left)

    def _refuse_restart(self) -> None:
        """An experiment that has ended goes on only if it was to be resumed, as on a cluster."""
        over, ended = self._journal.over, len(self._journal.trials)
        may = over == "ExperimentMaxTrialsReached" and self._experiment.resumes
        if over in ("ExperimentMaxTrialsReached", "ExperimentFailed") and not (may or self._ending()):
            raise UserError(
                f"{self._experiment.name} has ended with {ended} trials; only one that ended by "
                "maxTrialCount goes on, with resumePolicy: LongRunning or FromVolume."
            )

    def _next(self) -> Trial | None:
        trials = self._journal.trials
        most = self._experiment.max_trials
        if self._nothing_left or (most is not None and len(trials) >= most):
            return None
        suggest = suggester_of(self._experiment).suggest
        suggested = suggest(self._experiment, trials, self._journal.state)
        if suggested is None:
            self._nothing_left = True
            return None
        number = len(trials) + 1
        trial = Trial(number, f"{self._experiment.name}-{number:04d}", dict(suggested.assignment))
        self._journal.asked(trial, suggested.state)
        return trial

    def _start(self, trial: Trial) -> None:
        command = command_of(self._experiment, trial.name, trial.assignment)
        rule = rule_for_next(self._experiment.early_stopping, self._journal.trials)
        folder = self._folder / TRIALS_FOLDER / trial.name
        self._running[trial.number] = TrialProcess(self._experiment, command, folder, rule)
        values = " ".join(f"{name}={value}" for name, value in trial.assignment.items())
        self._say(f"trial={trial.name} state=Running {values}")

    def _collect(self) -> None:
        by_number = {trial.number: trial for trial in self._journal.trials}
        for number, process in list(self._running.items()):
            ended = process.poll()
            if ended is None:
                continue
            del self._running[number]
            trial = trial_of(self._experiment, by_number[number], ended)
            write_metrics(self._folder / TRIALS_FOLDER / trial.name, ended.reports)
            self._journal.ended(trial)
            self._say(self._line(trial))

    def _line(self, trial: Trial) -> str:
        metric = self._experiment.objective.metric
        words = [f"trial={trial.name}", f"state={trial.state}"]
        if trial.value is not None:
            words.append(f"{metric}={trial.value:.6g}")
        trials = self._journal.trials
        if best := best_of(self._experiment, trials):
            words.append(f"best={best.value:.6g}")
        ended = sum(each.state != "Running" for each in trials)
        of = f"/{self._experiment.max_trials}" if self._experiment.max_trials else ""
        words += [f"seconds={trial.seconds:.1f}", f"ended={ended}{of}"]
        return " ".join(words) + (f" cause: {trial.cause}" if trial.cause else "")

    def _kill_rest(self) -> None:
        self.end_processes()
        for trial in self._journal.trials:
            if trial.state == "Running":
                self._running.pop(trial.number, None)
                killed = replace(trial, state="Killed", cause="The experiment had ended.")
                self._journal.ended(killed)
                self._say(self._line(killed))


def trial_of(experiment: Experiment, trial: Trial, ended: Ended) -> Trial:
    """A trial with what came of it.

    Args:
        experiment: The experiment.
        trial: The trial while it ran.
        ended: How its process ended.
    """
    objective = experiment.objective
    trial = replace(trial, seconds=round(ended.seconds, 3))
    if ended.cause:
        return replace(trial, state="Failed", cause=ended.cause)
    metrics = observe(ended.reports)
    if objective.metric not in metrics:
        hint = ", where values have to be texts" if experiment.collector.is_json else ""
        return replace(
            trial,
            state="MetricsUnavailable",
            metrics=metrics,
            cause=f"it reported no number for {objective.metric}{hint}",
        )
    stopping = experiment.early_stopping
    return replace(
        trial,
        state="EarlyStopped" if ended.stopped_early else "Succeeded",
        value=metrics[objective.metric].counted(objective.strategies[objective.metric]),
        metrics=metrics,
        first_mean=first_mean(objective, ended.reports, stopping.start_step) if stopping else None,
    )
