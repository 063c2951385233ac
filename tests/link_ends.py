"""The two ends of a link, for tests: frames, a sender and a receiver over each transport, a peer that says anything."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import zmq

from pipeline.frame import Frame, FrameHeader, StreamInfo, frame_bytes
from pipeline.link import Receiver, Sender
from tests.running import WAIT

TRANSPORTS = ("inproc", "ipc", "tcp")
INFO = StreamInfo(width=64, height=48, pixel_format="yuv420p", time_base=(1, 25))


def frame(index: int, width: int = 64, height: int = 48) -> Frame:
    header = FrameHeader(index=index, pts=index * 3 - 7, width=width, height=height, pixel_format="yuv420p")
    pixels = np.random.default_rng(index).integers(0, 256, frame_bytes("yuv420p", width, height), np.uint8)
    return Frame(header, pixels)


@contextmanager
def both_ends(transport: str) -> Iterator[tuple[Sender, Receiver]]:
    """A sender and a receiver over each transport; contexts apart, as in two processes, but for inproc."""
    folder = tempfile.mkdtemp()
    contexts = [zmq.Context(), zmq.Context()]
    url = {"inproc": "inproc://x", "ipc": f"ipc://{folder}/x", "tcp": "tcp://127.0.0.1:*"}[transport]
    receiver = Receiver(url, bind=True, stage="derain", peer="decode", context=contexts[0])
    sender_context = contexts[0] if transport == "inproc" else contexts[1]
    sender = Sender(receiver.url, bind=False, stage="decode", peer="derain", context=sender_context)
    yield sender, receiver
    sender.close()
    receiver.close()
    for context in contexts:
        context.term()
    shutil.rmtree(folder)


@contextmanager
def ipc_address() -> Iterator[str]:
    """One short enough for a socket."""
    folder = tempfile.mkdtemp()
    yield f"ipc://{folder}/x"
    shutil.rmtree(folder)


def raw_peer(url: str, context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """A peer that says what the test wants, right or wrong."""
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.rcvtimeo = socket.sndtimeo = int(WAIT * 1000)
    socket.connect(url)
    return socket
