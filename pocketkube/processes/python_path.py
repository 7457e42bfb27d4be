"""Where Python processes that this one starts find modules."""

import os
from pathlib import Path

_PACKAGES = Path(__file__).parents[2]


def python_path() -> str:
    """PYTHONPATH of a process that runs a module of this package with -P: the user's own, and ours."""
    # Behind the user's own folders: all that is installed may be beside the package.
    return os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(_PACKAGES)])
