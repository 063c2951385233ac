"""The processes that make batches while the network learns, and what they die of as one line."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from training.errors import TrainingError
from training.packed_clips import DataError
from training.stopping import unheeding

# what Python adds to the folder for temporary files (multiprocessing.connection, tempfile), and the longest path of a
# socket (unix(7), less the byte that ends it)
_SOCKET = "/pymp-12345678/listener-12345678"
_LONGEST = 107


def loader_of(data: Dataset[Any], workers: int, **settings: Any) -> DataLoader[Any]:
    """Gives the batches that `data` makes, in `workers` processes, which are forked when it is iterated.

    Call it right before that. What nobody refers to any more is freed here and not there: a decoder of FFmpeg waits
    for its threads when it is freed, and a forked process has none of them, so it would wait for ever. DataError where
    the path of the folder for temporary files is too long for the sockets over which batches are handed on: PyTorch
    would wait for the first of them for ever.
    """
    folder = tempfile.gettempdir()
    if workers and len(os.fsencode(folder + _SOCKET)) > _LONGEST:
        raise DataError(f"{folder}: too long a path for sockets; set TMPDIR to a shorter one, like /tmp")
    gc.collect()
    return DataLoader(
        data, batch_size=None, num_workers=workers, prefetch_factor=4, worker_init_fn=unheeding, **settings
    )


def next_batch(batches: Iterator[Any]) -> Any:
    """The next batch. TrainingError for what a loader process died of, as its own one line."""
    try:
        return next(batches)
    except TrainingError as error:
        lines = str(error).strip().splitlines()
        said = lines[-1].partition(": ")[2] if lines[0].startswith("Caught ") else str(error)
        # its traceback would keep the loader, whose processes end with it
        raise DataError(said) from error.with_traceback(None)
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise DataError(
            "a loader process was killed; where memory ran out (see dmesg), lower data.batch, data.workers or data.crop"
        ) from error.with_traceback(None)
