"""The data files of this package, in YAML."""

from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def read_data(path: str) -> Any:  # noqa: ANN401  (whatever the file holds)
    """Return the content of a file of this package; it must not be changed."""
    text = (resources.files(__package__) / path).read_text("utf-8")
    return yaml.load(text, yaml.CSafeLoader)
