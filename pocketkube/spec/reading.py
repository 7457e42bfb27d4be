"""Reads a spec, refusing what is wrong with the line it stands on and what would be right."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeVar

from pydantic import ValidationError
from yaml import MappingNode

from pocketkube.errors import UserError
from pocketkube.files.whole import place_of
from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.own_code import read_imports
from pocketkube.spec.problems import MOST, Problem, problems_of
from pocketkube.spec.sections import UNCOMPRESSED, DistillModel, Import
from pocketkube.spec.sections.imports import check_imports
from pocketkube.spec.settings import Settings
from pocketkube.spec.source import Wanted, line_of, read_document
from pocketkube.spec.spec import Spec, said_of_width
from pocketkube.spec.stage_settings import StageSettings

Kind = TypeVar("Kind", bound=Settings)


def load_spec(path: Path) -> Spec:
    """Reads a spec file.

    Args:
        path: A YAML file. Relative paths inside it are kept as written; see `resolve_paths`. Those of
            `imports` alone are followed: the spec holds the text of these files.

    Returns:
        The spec, complete with defaults.

    Raises:
        UserError: If the file is missing, is not YAML, or asks for something unknown, impossible
            or contradictory. Names the file and, of each thing that is wrong, the line and what would
            be right, in the order of the lines.
    """
    document, root = read_document(path)
    try:
        document = with_texts(document, path.parent)
    except UserError as error:
        raise UserError(f"{path.name} line {line_of(root, ('imports',))}: {error}") from None
    return _settings_of(Spec, path, document, root)


def with_texts(document: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """What a user's own file says of a job, with the text of the .py files that its imports name.

    Args:
        document: What the file holds.
        base: Its folder.

    Raises:
        UserError: If there is no such file, or it is no module.
    """
    given = document.get("imports")
    if not isinstance(given, list | tuple):
        return dict(document)
    # Mappings have their text; what else stands there is refused where all settings are looked at.
    words = [word for word in given if isinstance(word, str)]
    try:
        found = read_imports(words, base)
    except UserError as error:
        raise UserError(f"imports: {error}") from None
    texts = (each.model_dump(exclude_defaults=True) for each in found)
    imports = [next(texts) if isinstance(each, str) else each for each in given]
    return {**document, "imports": imports}


def load_settings(kind: type[Kind], path: Path, wanted: Wanted) -> Kind:
    """Reads a YAML file of any settings, as `load_spec` reads a spec.

    Args:
        kind: Which settings.
        path: The file.
        wanted: What messages call such a file.

    Raises:
        UserError: As `load_spec` does.
    """
    return _settings_of(kind, path, *read_document(path, wanted))


def _settings_of(kind: type[Kind], path: Path, document: Mapping[str, Any], root: MappingNode) -> Kind:
    try:
        return validated(kind, document)
    except ValidationError as error:
        problems = problems_of(error, document, kind)
        placed = [(line_of(root, problem.steps), problem) for problem in problems]
        placed.sort(key=lambda pair: pair[0])
        sentences = [f"line {line}: {_sentence(problem)}" for line, problem in placed]
        raise UserError(f"{path.name} {said(sentences)}") from None


def parse_spec(document: Mapping[str, Any]) -> Spec:
    """Checks a spec that arrives as a mapping, such as a pipeline's parameter.

    Whole numbers may arrive as floats, for a pipeline's parameters travel as JSON numbers:
    8.0 is taken where 8 is meant.

    Args:
        document: What the YAML file would hold.

    Returns:
        The spec, complete with defaults.

    Raises:
        UserError: As `load_spec` does, naming the path of the key, for there are no lines.
    """
    return parse_settings(Spec, document, "spec")


def parse_settings(kind: type[Kind], document: Any, what: str) -> Kind:
    """Checks settings that arrive as a mapping, such as those that a stage is told.

    Args:
        kind: Which settings.
        document: Their keys and values; whole numbers may be floats, as for `parse_spec`.
        what: What messages call them.

    Raises:
        UserError: As `parse_spec` does.
    """
    if not isinstance(document, Mapping):
        raise UserError(f"{what}: must be a mapping of keys to values; received {document!r:.60}")
    try:
        return validated(kind, document)
    except ValidationError as error:
        problems = problems_of(error, document, kind)
        raise UserError(f"{what}: {said(list(map(_sentence, problems)))}") from None


def with_imports(spec: Spec, imports: Sequence[Import]) -> Spec:
    """A job that imports more modules, each in the place of one that has the same name.

    Args:
        spec: The job.
        imports: The modules.

    Raises:
        UserError: If all of them are too large together.
    """
    # A dict keeps the place of a name that has another value now: modules that import it come behind.
    by_name = {each.name: each for each in (*spec.imports, *imports)}
    try:
        check_imports(together := tuple(by_name.values()))
    except ValueError as error:
        raise UserError(str(error)) from None
    return spec.model_copy(update={"imports": together})


def resolve_paths(spec: Spec, base: Path) -> Spec:
    """Makes the spec's paths absolute.

    Args:
        spec: The spec.
        base: The folder that relative paths start from: the spec file's.

    Returns:
        The spec with the paths of the model and of a student, where they are files, of
        teachers, of a latency table and of the data set. What is already absolute, a built-in name or
        an address such as s3://… stays as it is; ~ is the home folder.
    """
    changes: dict[str, Any] = {}
    if is_model_file(spec.model, base):
        if spec.width != 1.0:
            raise UserError(said_of_width(spec.model))
        changes["model"] = _absolute(spec.model, base)
    changes["stages"] = tuple(_absolute_student(stage, base) for stage in spec.stages)
    teachers = tuple(
        place if place == UNCOMPRESSED else _absolute(place, base)
        for place in spec.distillation.teachers
    )
    changes["distillation"] = spec.distillation.model_copy(update={"teachers": teachers})
    if spec.target and spec.target.latency_table:
        table = _absolute(spec.target.latency_table, base)
        changes["target"] = spec.target.model_copy(update={"latency_table": table})
    kind, place = spec.dataset.source
    if spec.dataset.added is not None:
        added = {name: settings.resolved(base) for name, settings in spec.dataset.added.items()}
        changes["dataset"] = spec.dataset.model_copy(update={"added": added})
    elif kind != "builtin":
        changes["dataset"] = spec.dataset.model_copy(update={kind: _absolute(place, base)})
    return spec.model_copy(update=changes)


def _absolute_student(stage: StageSettings, base: Path) -> StageSettings:
    if isinstance(stage, DistillModel) and is_model_file(stage.student, base):
        return stage.model_copy(update={"student": _absolute(stage.student, base)})
    return stage


def _absolute(place: str, base: Path) -> str:
    return place if "://" in place else str(place_of(place, base.absolute()))


def validated(kind: type[Kind], document: Any) -> Kind:
    """Settings of a document.

    Args:
        kind: Which settings.
        document: Their keys and values; whole numbers may be floats.

    Raises:
        ValidationError: If they are wrong.
    """
    # Strict, so that a quoted number or a yes where a number belongs is an error and not a guess.
    return kind.model_validate(plain(document), strict=True)


def plain(value: Any) -> Any:
    """Lists as tuples, whole floats as ints and paths as text: what strict validation asks for."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, PurePath):
        return str(value)
    return value


def _sentence(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}" if problem.path else problem.message


def said(sentences: Sequence[str]) -> str:
    """Several problems in one line.

    Args:
        sentences: At least one.
    """
    first, *others = sentences
    if not others:
        return first
    counted = "1 more problem" if len(others) == 1 else f"{len(others)} more problems"
    if len(sentences) == MOST:
        counted = "more problems"
    return f"{first} (and {counted}: {' | '.join(others)})"
