"""Files that a training can do without: pictures, reports, logs."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def may_fail(path: str | os.PathLike[str], consequence: str = "Training goes on.") -> Iterator[None]:
    """
    Write something that is worth less than the model that is being trained: what fails in the block is told in a warning that
    names the file. To stop a process (Ctrl-C, ``SystemExit``) still stops it.

    :param path: the file, or the folder
    :param consequence: what follows from it, in a sentence
    """
    try:
        yield
    except ImportError:  # an extra is missing: nothing has failed
        raise
    except Exception as error:
        text = f"{os.fspath(path)} could not be written ({type(error).__name__}: {error}). {consequence}"
        warnings.warn(text, stacklevel=3)  # beyond contextlib's frame
