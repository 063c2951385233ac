"""The nursery: a process that has imported PyTorch and read a network once, and forks what shall begin at once.

Importing is most of what a process of a live stream does before its first frame, so one that died would be missed for
seconds. The nursery has a single thread and does nothing but wait (`pipeline.forked` says why). Each child is forked
twice: its parent dies at once, so that it becomes a child of whoever asked, who has called `adopt_orphans`. It begins
when whoever asked has heard of it, and not at all if the nursery was killed before it could tell: then another is
started. If a nursery is killed nobody but its successor notices.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from importlib import import_module

from pipeline.forked import SIGNALS, live, may_fork
from pipeline.live.births import LARGEST, Birth, Born, pack, read_birth
from pipeline.orphans import signal_when_orphaned

_STAGES = ("decode", "derain", "encode", "output")
_MOST_FILES = 8
_known: set[str] = set()
"""Models that were loaded once here, or in the nursery that this process was forked from."""


def main() -> int:
    """`python -m pipeline.live.nursery_process SOCKET`, the number of a descriptor."""
    return tend(socket.socket(fileno=int(sys.argv[1])))


def tend(wire: socket.socket) -> int:
    """Answer births until the other end is closed."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal_when_orphaned(signal.SIGKILL)
    _import_what_all_need()
    waiting: list[tuple[Birth, list[int]]] = []
    while True:
        wire.setblocking(not waiting)
        try:
            data, files, _, _ = socket.recv_fds(wire, LARGEST, _MOST_FILES)
        except BlockingIOError:
            birth, files = waiting.pop(0)
            _load(birth.model)
            _answer(wire, birth, files)
            continue
        except ConnectionError:
            return 0
        if not data:
            return 0
        birth = read_birth(data)
        if birth.model in ("", *_known):
            _answer(wire, birth, files)
        else:
            waiting.append((birth, files))  # those that need nothing loaded don't wait for it


def _answer(wire: socket.socket, birth: Birth, files: list[int]) -> None:
    born = Born(birth.name, _bear(wire, birth, files) if may_fork() else 0)
    for number in files:
        os.close(number)
    wire.setblocking(True)
    with suppress(ConnectionError):
        wire.send(pack(born))


def _bear(wire: socket.socket, birth: Birth, files: list[int]) -> int:
    """Process number of a child that is already the asker's."""
    reading, writing = os.pipe()
    gc.freeze()  # or the child's first collection would copy every page
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    between = os.fork()
    if between == 0:
        middle = os.getpid()
        child = os.fork()
        if child == 0:
            word = 1 + max([2, *birth.kept])
            work = partial(_begin, birth, middle, word)
            if birth.kind == "stream":
                os.setpgid(0, 0)  # of the group it can be ended by; see `pipeline.live.nursery.launch` on sessions
            kept = dict(zip([*birth.kept, word], files[1:], strict=True))
            live(work, birth.title, {1: files[0], 2: files[0]} | kept)
        while birth.kind == "stream" and os.getpgid(child) != child:
            time.sleep(0.001)
        os.write(writing, str(child).encode())
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    gc.unfreeze()
    os.close(writing)
    os.waitpid(between, 0)  # from now on the child is the asker's
    said = os.read(reading, 32)
    os.close(reading)
    return int(said or b"0")


def _begin(birth: Birth, middle: int, word: int) -> int:
    """Be the child, once whoever asked has said so; a closed pipe says that another was started."""
    wanted = os.read(word, 1)
    os.close(word)
    while os.getppid() == middle:
        time.sleep(0.001)
    if not wanted or os.getppid() != birth.parent:
        return 1
    module = "pipeline.live.__main__" if birth.kind == "stream" else "pipeline.live.stage"
    return int(import_module(module).born(birth.stage, birth.order))


def _import_what_all_need() -> None:
    """OpenBLAS, which numpy brings, would start a thread a core."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    stages = (f"pipeline.live.{stage}" for stage in _STAGES)
    for name in ("numpy", "av", "cv2", "pipeline.live.__main__", "pipeline.scene_cut", *stages):
        import_module(name)


def _load(model: str) -> None:
    """Have everything imported that loading this model imports. What is wrong with it its stage will say."""
    _known.add(model)
    with suppress(Exception):
        import torch

        import esdnet.derainer
        import esdnet.firing_probe
        import esdnet.models
        from esdnet.runtimes import RUNTIMES

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        esdnet.models.load(model)
        torch.set_num_threads(threads)
        for module, _ in RUNTIMES.values():  # they import nothing that may be missing, nor start a thread
            import_module(module)
    _import_if_forkable("esdnet.runtimes.openvino", "import_openvino")


def _import_if_forkable(module: str, function: str) -> None:
    """Call a function that imports a library, unless a process that tries it first has a thread more afterwards.

    OpenVINO 2026 starts none when it is imported. One that does would end all forking here.
    """
    pid = os.fork()
    if pid == 0:
        able = False
        with suppress(BaseException):
            getattr(import_module(module), function)()
            able = may_fork()
        os._exit(0 if able else 1)
    if os.waitpid(pid, 0)[1] == 0:
        with suppress(Exception):
            getattr(import_module(module), function)()


if __name__ == "__main__":
    # as a module that its children find again, with what is known
    sys.exit(import_module("pipeline.live.nursery_process").main())
