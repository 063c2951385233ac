"""A one-way link between two stages over ZeroMQ: every frame arrives once, in order, or the link fails.

Flow control is by credit, as in chapter 7 of the ZeroMQ Guide: the receiver says how many frames and bytes may be in
flight and gives back what it is done with; the sender waits when it has spent them. So a slow stage slows those
before it, and memory is bounded whatever the frame size. ZeroMQ's own high-water marks are off: they count messages,
and their default of 1000 would be 12 GB of 4K frames.

The end of the stream is a message with the number of frames before it. The receiver acknowledges it only when its own
work is finished, which for the last stage means the file is closed; stages in between pass the acknowledgement on.

Pixels are the second part of a frame's message and are not copied by us on either side (libzmq copies messages below
64 KiB, where that is quicker). The sender must not write to an array it has sent; the receiver's array belongs to it.

Both ends are DEALER sockets; either may bind. ``ipc://`` and ``tcp://`` notice that the peer is gone (tcp by ZMTP
heartbeats, within 5 s); ``inproc://`` can't, so give time-outs there. An endpoint belongs to one thread.
Used as a context manager it passes the error that ends it on to the peer.
"""

from __future__ import annotations

from pipeline.endpoint import LINGER_MS, Endpoint, Stopped
from pipeline.receiver import BYTES_IN_FLIGHT, FRAMES_IN_FLIGHT, Receiver
from pipeline.sender import Sender

END_TIMEOUT = 3600.0
"""Seconds to wait for the acknowledgement of the end, while slow encoders flush their look-ahead: a last resort
against a file system that hangs. A stage that dies is noticed at once."""

__all__ = [
    "BYTES_IN_FLIGHT",
    "END_TIMEOUT",
    "FRAMES_IN_FLIGHT",
    "LINGER_MS",
    "Endpoint",
    "Receiver",
    "Sender",
    "Stopped",
]
