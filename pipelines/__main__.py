"""Compiles the ready pipelines, or a spec's own: `python -m pipelines FOLDER [--spec SPEC]`."""

import argparse
import os
from pathlib import Path

from pipelines.compiling import compile_ready, compile_spec
from pocketkube.cli.ending import plain_ending
from pocketkube.console.quiet import quiet_libraries
from pocketkube.files.overwriting import refuse_overwriting
from pocketkube.spec import load_spec


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder for the packages")
    parser.add_argument("--spec", type=Path, help="a spec, whose own stages make the pipeline")
    options = parser.parse_args()
    quiet_libraries()
    with plain_ending():
        if options.spec:
            file = options.folder / f"{options.spec.stem}.yaml"
            refuse_overwriting([("the spec", options.spec)], [file])
            written = [compile_spec(load_spec(options.spec), file)]
        else:
            written = compile_ready(options.folder)
        for path in written:
            print(path)
    image = os.environ["POCKETKUBE_IMAGE"]
    print(f"Tasks run in the image {image}; POCKETKUBE_IMAGE names another while compiling.")


if __name__ == "__main__":
    main()
