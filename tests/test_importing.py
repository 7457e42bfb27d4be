"""Modules that a spec imports: what Keras knows then, and what is refused in one line."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

from pocketkube.bundle import load_model
from pocketkube.errors import UserError
from pocketkube.graph.dependency import trace_channels
from pocketkube.importing import import_all, is_of_text
from pocketkube.spec.sections import Import
from tests.own_modules import MY_LAYERS, as_before, module, save_network


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with as_before():
        yield


def refused(*imports: Import) -> str:
    with pytest.raises(UserError) as error:
        import_all(imports)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_model_with_layers_of_a_module_is_read_and_can_be_cut(tmp_path: Path) -> None:
    file = save_network(tmp_path)
    with pytest.raises(UserError, match=r"uses the class Named and the class Halved, which are not"):
        load_model(file)
    import_all([module("my_layers", MY_LAYERS.read_text())])
    graph = trace_channels(load_model(file))
    assert not graph.left_whole
    assert {group.name for group in graph.groups} == {"stem", "halved", "conv"}
    assert is_of_text("my_layers")
    # A model file may call what is known, with arguments of its own.
    assert keras.saving.get_registered_object("relu") is None
    assert keras.saving.get_registered_object("mine>wave").__module__ == "my_layers"


def test_a_model_file_calls_no_function_that_was_not_meant_for_it(tmp_path: Path) -> None:
    source = "from pathlib import Path\n\ndef wipe(x, path=''):\n    Path(path).touch()\n    return x\n"
    import_all([module("wiping", source)])
    wipe, marker = sys.modules["wiping"].wipe, tmp_path / "called"
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Lambda(wipe, arguments={"path": str(marker)})(inputs))
    keras.saving.register_keras_serializable("Custom", "wipe")(wipe)
    model.save(tmp_path / "net.keras")
    keras.saving.get_custom_objects().clear()
    keras.src.saving.object_registration.GLOBAL_CUSTOM_NAMES.pop(wipe, None)
    marker.unlink()
    import_all([module("wiping", source)])
    with pytest.raises(UserError):
        load_model(tmp_path / "net.keras")
    assert not marker.exists()


def test_what_has_no_module_is_passed_over() -> None:
    import_all([module("bound_one", "look = {}.get\nnumber = 3\n")])
    assert sys.modules["bound_one"].number == 3


def test_a_text_is_run_once_and_anew_where_it_is_another_one() -> None:
    import_all([module("counted_one", "A = object()")])
    first = sys.modules["counted_one"].A
    import_all([module("counted_one", "A = object()")])
    assert sys.modules["counted_one"].A is first
    import_all([module("counted_one", "B = 2"), module("counted_two", "from counted_one import B")])
    assert sys.modules["counted_two"].B == 2


def test_its_source_can_be_shown() -> None:
    import_all([module("shown_one", "def wave(x):\n    return 2 * x\n")])
    assert inspect.getsource(sys.modules["shown_one"].wave) == "def wave(x):\n    return 2 * x\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "a = 1\nraise RuntimeError('no\\nway')",
            "one.py, line 2, cannot be imported: RuntimeError: no",
        ),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import sys\nsys.exit(3)", "one.py, line 2, cannot be imported: SystemExit: 3"),
        ("def f():\n  return 1/0\n\nf()", "one.py, line 2, cannot be imported: ZeroDivisionError"),
    ],
)
def test_what_a_module_raises_is_told_by_its_last_line(source: str, said: str) -> None:
    assert said in refused(module("raising_one", source))
    assert "raising_one" not in sys.modules


def test_what_is_not_there_and_what_takes_a_place_is_refused() -> None:
    assert refused(Import(name="no_such_layers")) == (
        "imports: there is no module no_such_layers: neither is it installed here, nor is "
        "no_such_layers.py beside what names it."
    )
    assert "there is no module keras.no_such" in refused(Import(name="keras.no_such"))
    text = refused(module("pocketkube", "A = 1"))
    assert text == "imports: pocketkube.py has the name of a module that runs already: rename the file."


def test_two_classes_of_one_name_are_refused() -> None:
    source = "import keras\nclass Twice(keras.layers.Layer): pass\n"
    import_all([module("first_layers", source)])
    text = refused(module("second_layers", source))
    assert text.startswith(
        "imports: both first_layers and second_layers have Twice: rename one, or put"
    )


def test_a_model_file_names_no_module_to_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save_network(tmp_path)
    # The file's own config says of which module its layers are, and there it is to be found.
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="which are not known here: name the module that has them"):
        load_model(file)
    assert "my_layers" not in sys.modules
