"""Command line: one command a stage, the same that the Snakemake rules call."""

import gc

# Each module registers its commands, in the order in which the help lists them.
# isort: off
from bindrae.cli import data, training, evaluation, prediction, about  # noqa: F401
# isort: on

from bindrae.cli.app import app
from bindrae.errors import exit_on_error

__all__ = ["app", "main"]

# Python looks for cycles whenever 700 objects were added; importing torch adds hundreds of thousands, all for good.
_OBJECTS_BETWEEN_COLLECTIONS = 50_000


def main() -> None:
    """Entry point: a user's error ends with its message and exit code 2, a bug with its traceback."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    with exit_on_error():
        try:
            app()
        finally:
            gc.freeze()  # or Python looks for garbage in all of torch before it ends, for a third of a second
