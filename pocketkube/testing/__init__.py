"""Contract tests that the author of an extension runs on their own: subclass one, give what it tests.

For a criterion, say::

    import pytest
    from pocketkube.testing import CriterionTests

    class TestLargestWeight(CriterionTests):
        @pytest.fixture
        def criterion(self):
            return LargestWeight()

pytest is needed here alone.
"""

from pocketkube.testing.criteria import CriterionTests
from pocketkube.testing.datasets import DatasetTests
from pocketkube.testing.layers import LayerTests
from pocketkube.testing.models import ModelTests
from pocketkube.testing.stages import StageTests
from pocketkube.testing.tasks import TaskTests

__all__ = [
    "CriterionTests",
    "DatasetTests",
    "LayerTests",
    "ModelTests",
    "StageTests",
    "TaskTests",
]
