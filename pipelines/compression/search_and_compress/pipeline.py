"""The ready pipeline that searches for each layer's channels before it compresses a network."""

from typing import Any

from components.compression.check_search_spec import check_search_spec
from pipelines.compression.compress_model.pipeline import pipeline_of_form
from pocketkube.spec.form import SearchForm
from pocketkube.stages.parts import SEARCH_TASKS

NAME = "search-and-compress"
DESCRIPTION = "Searches for each layer's channels, then makes a Keras network smaller and faster."


def search_and_compress() -> Any:
    """Builds the pipeline that a person starts from a form: search, prune, fine-tune, write the file.

    Its parameters are those of `check_search_spec`, its first task.

    Returns:
        The KFP pipeline.
    """
    return pipeline_of_form(SearchForm, check_search_spec, SEARCH_TASKS, NAME, DESCRIPTION)
