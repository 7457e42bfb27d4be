"""`pocketkube import`, `export` and `compare`: model files made of others, and how far two agree."""

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pocketkube.cli.ending import show
from pocketkube.cli.options import (
    add_command,
    add_image_size,
    add_imports,
    add_json,
    add_value_range,
    import_named,
    path_here,
    refuse_other_ending,
    value_range_of,
)
from pocketkube.console.quiet import quiet_tensorflow
from pocketkube.errors import UserError
from pocketkube.files.overwriting import refuse_overwriting

if TYPE_CHECKING:
    from pocketkube.deploy.two_models import Difference
    from pocketkube.stages.value_range import OtherRange

FORMATS = ("float32", "float16", "dynamic", "int8")


def add_file_commands(sub) -> None:  # type: ignore[no-untyped-def]
    """Adds the commands.

    Args:
        sub: The subparsers of the command line.
    """
    older = add_command(
        sub,
        "import",
        import_file,
        "Bring back a model of an older Keras as a .keras file.",
        "Settings and weights alone are read: no Python code and no graph of the file is run.",
    )
    older.add_argument("old", help="a .h5 or .hdf5 file, or the folder of a SavedModel of Keras 2")
    older.add_argument("--output", "-o", type=path_here, required=True, help="the .keras file to write")
    add_image_size(older)
    add_imports(older)
    add_json(older)

    text = "Write a LiteRT file of a model, and say how far it is from the model."
    export = add_command(sub, "export", export_file, text)
    export.add_argument("model", help="a model file, or a packed one")
    export.add_argument(
        "--output", "-o", type=path_here, required=True, help="the .tflite file to write"
    )
    export.add_argument(
        "--format",
        choices=FORMATS,
        help="its numbers (default: float32, or the integers that a packed model's levels are)",
    )
    export.add_argument(
        "--data",
        type=path_here,
        help="an .npz with x, or x0, x1, …, and y or none: int8 is calibrated on it, and every file is "
        "compared with its model on it, with y on the part that is for testing; without --data, on "
        "random numbers",
    )
    add_value_range(export)
    export.add_argument(
        "--min-agreement",
        type=float,
        help="least part of the classes, or of the outputs' variance, that has to be kept",
    )
    add_image_size(export)
    add_imports(export)
    add_json(export)

    text = "Say how far two models agree, .keras or .tflite files."
    compare = add_command(sub, "compare", compare_files, text)
    compare.add_argument("first", help="the reference: a .tflite file or a model file")
    compare.add_argument("second", help="the other one")
    compare.add_argument(
        "--data",
        type=path_here,
        required=True,
        help="an .npz with x, or x0, x1, …, and y or none; with labels both are scored",
    )
    add_value_range(compare)
    add_imports(compare)
    add_json(compare)


def import_file(options: Namespace) -> None:
    """`pocketkube import`: a .keras file of an older one."""
    refuse_other_ending(options.output, ".keras")
    refuse_overwriting([("the model", options.old)], [options.output])
    quiet_tensorflow()
    from pocketkube.files.whole import replaced_file
    from pocketkube.graph.fixed_size import at_image_size
    from pocketkube.older_keras import load_older
    from pocketkube.storage import parse_location

    import_named(options)
    with parse_location(options.old).fetched() as path:
        found = load_older(path)
    model = at_image_size(found.model, options.image_size)
    with replaced_file(options.output) as aside:
        model.save(aside)
    inputs, outputs = ([list(x.shape) for x in each] for each in (model.inputs, model.outputs))
    facts = {
        "file": str(options.output),
        "layers": len(model.layers),
        "parameters": model.count_params(),
        "inputs": inputs,
        "outputs": outputs,
        "notes": list(found.notes),
    }
    if options.json:
        print(json.dumps(facts, indent=1))
        return
    print(
        f"{options.output}: {len(model.layers)} layers, {model.count_params():,} parameters, "
        f"{_shapes(inputs)} -> {_shapes(outputs)}"
    )
    for note in found.notes:
        print(f"note: {note}")


def _shapes(shapes: list[list[int | None]]) -> str:
    return ", ".join(" x ".join("any" if n is None else str(n) for n in each[1:]) for each in shapes)


def export_file(options: Namespace) -> None:
    """`pocketkube export`: a LiteRT file of a model."""
    refuse_other_ending(options.output, ".tflite")
    least = options.min_agreement
    if least is not None and not 0 <= least <= 1:
        raise UserError(f"--min-agreement: has to be between 0 and 1; received {least:g}.")
    if least is not None and options.format in (None, "float32"):
        raise UserError("--min-agreement: goes with --format int8, float16 or dynamic.")
    if options.format == "int8" and options.data is None:
        raise UserError("--format: int8 is calibrated on examples; give --data x.npz with some inputs.")
    value_range = value_range_of(options)
    quiet_tensorflow()
    from pocketkube.api.export import export
    from pocketkube.data.npz import load_examples
    from pocketkube.spec.sections import DatasetSettings
    from pocketkube.stages.value_range import OtherRange

    import_named(options)
    examples = None if options.data is None else load_examples(options.data, value_range)[0]
    network = _network(options.model, options.image_size, examples)
    data: Any = None
    if examples is not None:
        # With labels, examples are split as those of a spec are.
        scaled = {} if value_range is None else {"value_range": value_range}
        source = DatasetSettings(npz=str(options.data), **scaled)
        data = source if examples.labels else list(examples.inputs)
    settings = {} if least is None else {"min_agreement": least}
    try:
        found = export(network, options.output, data, number_format=options.format, **settings)
    except OtherRange as error:
        raise by_option(error) from error
    if options.json:
        facts = {
            "file": str(found.path),
            "format": found.number_format,
            "size_bytes": found.size_bytes,
            "agreement": asdict(found.agreement),
            "on_random_inputs": found.on_random_inputs,
            "notes": list(found.notes),
        }
        print(json.dumps(facts, indent=1))
        return
    show(found.table())
    for note in found.notes:
        print(f"note: {note}")


def compare_files(options: Namespace) -> None:
    """`pocketkube compare`: how far two models agree."""
    value_range = value_range_of(options)
    quiet_tensorflow()
    from pocketkube.data.npz import load_examples
    from pocketkube.deploy.two_models import compare_models
    from pocketkube.stages.compared import doubts_of
    from pocketkube.stages.value_range import OtherRange

    import_named(options)
    examples, scaled_to = load_examples(options.data, value_range)
    first, second = (runnable(text) for text in (options.first, options.second))
    try:
        doubts = doubts_of(first, examples, str(options.data), scaled_to)
    except OtherRange as error:
        raise by_option(error) from error
    found = compare_models(first, second, examples, str(options.data))
    if options.json:
        print(json.dumps(_facts(found) | {"warnings": doubts}, indent=1))
        return
    _show_difference(found, options.first, options.second)
    for sentence in doubts:
        print(f"warning: {sentence}", file=sys.stderr)


def by_option(error: "OtherRange") -> UserError:
    """What to do about it on the command line."""
    low, high = error.better
    return error.remedied(
        "save {formula} as x, for it is not of 8 bits and taken as it is",
        f"give --value-range {low:g} {high:g}",
    )


def _network(text: str, image_size: list[int] | None, examples: Any) -> Any:
    from dataclasses import replace

    from pocketkube.api.import_model import import_model
    from pocketkube.graph.fixed_size import are_of_images, at_image_size, at_shapes, open_shapes
    from pocketkube.shapes import shapes_fit
    from pocketkube.storage import parse_location

    with parse_location(text).fetched() as path:
        network = import_model(path)
    shapes = open_shapes(network.model)
    if image_size:
        return replace(network, model=at_image_size(network.model, image_size))
    if not shapes:
        return network
    if examples is None:
        size = "--image-size HEIGHT WIDTH, or " if are_of_images(shapes) else ""
        raise UserError(
            f"{text} takes inputs of any size, {', '.join(map(str, shapes))}: give {size}--data with "
            "examples of the size."
        )
    given = [array.shape[1:] for array in examples.inputs]
    # Data of other shapes are refused where they are held against the model.
    if not shapes_fit(given, shapes):
        return network
    return replace(network, model=at_shapes(network.model, given))


def runnable(text: str) -> Any:
    """What a .tflite or .keras file, or an older one, computes."""
    from pocketkube.api.import_model import import_model
    from pocketkube.deploy.two_models import Runnable
    from pocketkube.litert.running import refuse_other_files
    from pocketkube.storage import parse_location

    with parse_location(text).fetched() as path:
        if path.suffix == ".tflite":
            refuse_other_files(path, text)
            return Runnable(text, path.read_bytes())
        return Runnable(text, import_model(path).model)


def _facts(found: "Difference") -> dict[str, Any]:
    scores = found.scores
    return {
        "examples": found.examples,
        "outputs": [asdict(output) for output in found.outputs],
        "scores": scores
        and {
            "name": scores.wording.score_name,
            "first": scores.before.score,
            "second": scores.after.score,
            "outputs": [
                {"name": before.score_name, "first": before.score, "second": after.score}
                for before, after in zip(scores.before.heads, scores.after.heads, strict=True)
            ],
        },
    }


def _show_difference(found: "Difference", first: str, second: str) -> None:
    from rich.table import Table

    from pocketkube.report.output_rows import difference_rows, score_rows

    table = Table("", "first", "second", "difference")
    table.title, table.title_justify = f"{first} and {second}", "left"
    table.caption = f"on {found.examples} examples"
    for column in table.columns[1:]:
        column.justify = "right"
    if found.scores is not None:
        names = [output.name for output in found.outputs]
        for row in score_rows(names, found.scores.before.heads, found.scores.after.heads):
            table.add_row(*row)
    for rows in difference_rows(found.outputs):
        for name, shown in rows:
            table.add_row(name, "", "", shown)
    show(table)
