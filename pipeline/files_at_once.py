"""How many files `derain batch` takes at a time where nobody says.

Networks with one thread each derain more frames a second than one network with all threads: threads of one step wait
for each other, and the codecs' work fits between the steps of the others (measured on two cores: docs/offline.md).
"""

from __future__ import annotations

from glob import glob

from esdnet import allowance
from pipeline.memory import free_megabytes

NETWORK_MEGABYTES = 3500
"""What `stream` takes at 1920×1080 while its graph is made. A file that needs more than is left waits until it has the
machine alone (`pipeline.batch`)."""
CODECS_MEGABYTES = 500
"""Of a worker beside its network."""
_ON_A_GPU = ("tensorrt", "cuda_graph")


def files_at_once(files: int, runtime: str, *, threads: int = 0, max_memory: int = 0) -> int:
    """At least 1. On a GPU always 1: one network fills it, and each would take its memory.

    `files` is how many there are to do, `threads` those of each network (0: one), `max_memory` its megabytes (0: not
    bounded).
    """
    if runtime in _ON_A_GPU or (runtime == "auto" and _gpu()):
        return 1
    cores = allowance.cores() // max(threads, 1)
    fit = free_megabytes() // ((max_memory or NETWORK_MEGABYTES) + CODECS_MEGABYTES)
    return max(1, min(files, cores, fit))


def _gpu() -> bool:
    """Whether the system has a device node of an NVIDIA GPU, also under Windows' Linux."""
    return bool(glob("/dev/nvidia[0-9]*") or glob("/dev/dxg"))
