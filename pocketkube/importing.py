"""Imports the modules that a user's spec or command line names, so that Keras knows their layers."""

import importlib
import sys
import traceback
from collections.abc import Sequence
from importlib.abc import InspectLoader
from importlib.util import module_from_spec, spec_from_loader
from types import CodeType, ModuleType
from typing import Any

from pocketkube.errors import UserError
from pocketkube.spec.sections import Import


def import_all(imports: Sequence[Import]) -> None:
    """Imports modules, in this order; what is imported already is left as it is.

    Classes of theirs that Keras writes down are made known to Keras by their names, where no
    `@keras.saving.register_keras_serializable` did it. Functions need that: a model file may call what
    is known, in a Lambda with arguments of its own. Keras's safe mode stays: it names no module.

    Args:
        imports: The modules, as a user has named them.

    Raises:
        UserError: If one is not there, raises an error, or has the name of another one.
    """
    for each in imports:
        make_known(_of_text(each) if each.packed else _installed(each.name))


def is_of_text(module: str) -> bool:
    """Whether a module was imported here from the text that a spec gives."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return isinstance(getattr(spec, "loader", None), _Text)


def make_known(module: ModuleType) -> None:
    """Makes what a module has for models known to Keras.

    Raises:
        UserError: If another module has a class of the same name.
    """
    import keras

    known, top = keras.saving.get_custom_objects(), module.__name__.split(".")[0]
    for name, value in vars(module).items():
        is_class = isinstance(value, type) and hasattr(value, "from_config")
        if not is_class or value.__name__ != name or _top(value) != top:
            continue
        if keras.saving.get_registered_name(value) != name:
            continue
        there = known.get(name)
        if there is not None and _top(there) != top:
            raise UserError(
                f"imports: both {there.__module__} and {module.__name__} have {name}: rename one, or "
                'put both under @keras.saving.register_keras_serializable("…"), each with a name.'
            )
        known[name] = value


def _top(value: Any) -> str:
    """The top-level module of what has one; some built-in things have none."""
    return (getattr(value, "__module__", None) or "").split(".")[0]


class _Text(InspectLoader):
    """Loads a module from its text, which tracebacks and `inspect.getsource` show."""

    def __init__(self, source: str) -> None:
        self.source = source

    def get_source(self, fullname: str) -> str:
        return self.source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, f"{fullname}.py", "exec", dont_inherit=True)

    def is_package(self, fullname: str) -> bool:
        return False


def _of_text(each: Import) -> ModuleType:
    name, source = each.name, each.source
    there = sys.modules.get(name)
    before = there.__spec__.loader if there is not None and there.__spec__ is not None else None
    if isinstance(before, _Text) and before.source == source:
        assert there is not None
        return there
    if there is not None and not isinstance(before, _Text) and _source_of(there) != source:
        raise UserError(
            f"imports: {name}.py has the name of a module that runs already: rename the file."
        )
    spec = spec_from_loader(name, _Text(source), origin=f"{name}.py of the spec")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name)
        if there is not None:
            sys.modules[name] = there
        if isinstance(error, KeyboardInterrupt | UserError):
            raise
        raise _raising(f"{name}.py", error) from error
    return module


def _source_of(module: ModuleType) -> str | None:
    """The text of a module that was imported from a file, as in a notebook before."""
    loader = getattr(module.__spec__, "loader", None)
    try:
        return loader.get_source(module.__name__) if isinstance(loader, InspectLoader) else None
    except ImportError:
        return None


def _installed(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _raising(name, error) from error
        raise UserError(
            f"imports: there is no module {error.name}: neither is it installed here, nor is "
            f"{name}.py beside what names it."
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, UserError):
            raise
        raise _raising(name, error) from error


def _raising(name: str, error: BaseException) -> UserError:
    """What a module raises: the last line of its traceback, and where in the module that began."""
    last = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename.endswith(name)]
    where = f", line {lines[-1]}" if lines else ""
    return UserError(f"imports: {name}{where}, cannot be imported: {last}")
