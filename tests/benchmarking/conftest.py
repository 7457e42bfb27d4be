import os
import subprocess
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def burners() -> Iterator[None]:
    """As many programs as there are cores, each doing nothing but work."""
    program = "print(flush=True)\nwhile True: pass"
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        for burner in started:
            assert burner.stdout is not None
            burner.stdout.readline()
        yield
    finally:
        for burner in started:
            burner.kill()
            burner.communicate()
