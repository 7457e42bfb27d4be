"""A trial that runs as a process of this machine, and what its metrics say meanwhile."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.processes.children import end_trees, guarded, started
from pocketkube.search.local_katib.early_stopping import Rule, RuleWatch
from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.metrics import LineReader, Reported
from pocketkube.search.local_katib.notes import is_shell
from pocketkube.search.local_katib.template import Command

LOG_FILE, METRICS_FILE = "log.txt", "metrics.log"
_PYTHON = re.compile(r"(.*/)?python(3(\.\d+)?)?")


@dataclass(frozen=True)
class Ended:
    """How a trial's process ended.

    Attributes:
        reports: The values of metrics, in the order in which they were written.
        stopped_early: Whether early stopping ended it.
        cause: Why its metrics do not count, in one line; empty where they do.
        seconds: How long it ran.
    """

    reports: tuple[Reported, ...]
    stopped_early: bool
    cause: str
    seconds: float


class TrialProcess:
    """A trial that runs.

    Args:
        experiment: Says where its metrics are.
        command: What it runs.
        folder: Where its log and metrics go; what is there is removed.
        rule: When it is stopped early, if at all.
    """

    def __init__(
        self, experiment: Experiment, command: Command, folder: Path, rule: Rule | None
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._is_file = experiment.collector.collects == "File"
        self._reader = LineReader(experiment.collector, experiment.objective.metrics)
        self._metrics = folder / (METRICS_FILE if self._is_file else LOG_FILE)
        self._rule = rule and RuleWatch(rule, experiment.objective)
        self._reports: list[Reported] = []
        self._offset, self._partial = 0, b""
        self._stopped_early = False
        self._cause = ""
        self._began = time.monotonic()
        self._process = self._start(experiment, command)

    @property
    def process(self) -> subprocess.Popen:
        """The process."""
        return self._process

    def poll(self) -> Ended | None:
        """Reads what is new of its metrics; how it ended, or None while it runs."""
        code = self._process.poll()
        self._read(to_end=code is not None)
        if code is not None:
            # It ended by itself before it could be stopped.
            self._stopped_early = False
        else:
            if not (self._stopped_early or self._cause):
                return None
            # Of metrics that cannot be read the collector dies, and the trial with it.
            end_trees([self._process])
            self._read(to_end=True)
        seconds = time.monotonic() - self._began
        if not self._cause and not self._stopped_early:
            self._cause = self._failure(code or 0)
        return Ended(tuple(self._reports), self._stopped_early, self._cause, seconds)

    def _start(self, experiment: Experiment, command: Command) -> subprocess.Popen:
        words = words_to_run(command, experiment.collector.path, self._metrics)
        environment = environment_of(command, experiment.collector.path, self._metrics)
        with (self._folder / LOG_FILE).open("wb") as log:
            return started(
                guarded(words),
                env=environment,
                cwd=experiment.folder / command.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches this process alone, which then ends its trials.
                start_new_session=True,
            )

    def _read(self, *, to_end: bool) -> None:
        try:
            with self._metrics.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except OSError:
            return
        self._offset += len(new)
        *lines, self._partial = (self._partial + new).split(b"\n")
        if to_end and self._partial:
            lines.append(self._partial)
            self._partial = b""
        for line in lines:
            try:
                found = self._reader.read(line.decode("utf-8", "replace"))
            except UserError as error:
                self._cause = self._cause or str(error)
                return
            self._reports += found
            if self._rule and any(map(self._rule.stops, found)):
                self._stopped_early = True

    def _failure(self, code: int) -> str:
        if code == 0:
            if self._is_file and not self._metrics.exists():
                return "it wrote no metrics file"
            return ""
        lines = (self._folder / LOG_FILE).read_text("utf-8", "replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
        how = f"code {code}" if code > 0 else f"signal {-code}"
        return f"it ended with {how}: {last[:300]}"


def words_to_run(command: Command, metrics_path: str, metrics_file: Path) -> list[str]:
    """Program and arguments, as Katib would have them run.

    Its collectors make a shell run the words, joined by spaces: a shell runs them here, too, where they
    hold what a shell reads.

    Args:
        command: The container's.
        metrics_path: The metrics file as the container knows it; empty where there is none.
        metrics_file: Where it is here.
    """
    words = command.words
    if is_shell(command):
        script = " ".join(words[2:])
        return [*words[:2], _placed(script, metrics_path, shlex.quote(str(metrics_file)))]
    is_plain = all(shlex.quote(word) == word for word in words)
    inserted = str if is_plain else shlex.quote
    first, *others = (_placed(word, metrics_path, inserted(str(metrics_file))) for word in words)
    if _PYTHON.fullmatch(words[0]):
        first = inserted(sys.executable)
    return [first, *others] if is_plain else ["sh", "-c", " ".join([first, *others])]


def environment_of(command: Command, metrics_path: str, metrics_file: Path) -> dict[str, str]:
    """This process's environment with the container's variables; `python` is this Python."""
    own = {
        name: _placed(value, metrics_path, str(metrics_file))
        for name, value in command.environment.items()
    }
    environment = {**os.environ, **own}
    folders = [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    return environment | {"PATH": os.pathsep.join(folders)}


def names_file(command: Command, metrics_path: str) -> bool:
    """Whether a command, or a variable of its container, names the metrics file."""
    named = _whole_path(metrics_path)
    return any(named.search(text) for text in (*command.words, *command.environment.values()))


def _placed(text: str, metrics_path: str, metrics_file: str) -> str:
    whole = _whole_path(metrics_path)
    if not metrics_path or not whole.search(text):
        return text
    # Beside the file may stand others of its name, as metrics.log.tmp that is renamed to it.
    return _path(metrics_path, r"(?![\w/-]|\.(?!\w))").sub(lambda _: metrics_file, text)


def _whole_path(path: str) -> re.Pattern[str]:
    """A path that is no part of a longer one; it may follow a short option, as in -o/data/m."""
    return _path(path, r"(?![\w./-])")


def _path(path: str, after: str) -> re.Pattern[str]:
    before = r"(?:(?<![\w./~}-])|(?<=\s-\w)|(?<=^-\w)|(?<=\bfile://))"
    return re.compile(f"{before}{re.escape(path)}{after}")


def missing(command: Command, environment: Mapping[str, str]) -> list[str]:
    """Variables that a cluster would give and that are not set here."""
    return [name for name in command.taken if name not in environment]
