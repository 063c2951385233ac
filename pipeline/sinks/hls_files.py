"""The files of an HLS destination: what FFmpeg's muxer writes, and whether it got there.

FFmpeg's muxer goes on over a segment or a playlist that can't be written: on a full disk it ends with an empty
playlist, which loses the good segments too, and says nothing. So it writes through this, which sees each error, and
removes what was begun, so that nothing broken takes the place of something good: FFmpeg gives a file its name when it
is whole (`hls_flags temp_file`), and what is not there it can't rename.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
from contextlib import suppress
from typing import Any

_READ = 1  # of FFmpeg's flags, where it asks for nothing else
FULL = (errno.ENOSPC, errno.EDQUOT)


class HlsFiles:
    """Opens files for the muxer (`io_open` of PyAV).

    Args:
        address: The playlist.
    """

    def __init__(self, address: str) -> None:
        self._folder, self._playlist = os.path.split(os.path.abspath(address))
        self._wanted = 0  # bytes of the segment that a full disk did not take last
        self.failure: OSError | None = None
        """Why something was not written, since `begin`. Nothing more is."""
        self.playlists = 0
        """How often the playlist was written: what came before is safe then."""

    def begin(self) -> None:
        """The muxer is about to be opened.

        Raises:
            OSError: There is no folder, or the disk is still too full for a segment, which would be lost after seconds.
        """
        self.failure = None
        os.makedirs(self._folder, exist_ok=True)
        if shutil.disk_usage(self._folder).free < self._wanted:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open(self, url: str, flags: int, _options: dict[str, str]) -> Any:
        """What FFmpeg reads (the playlist that it goes on with) or writes."""
        path = url.removeprefix("file:")
        if flags != _READ:
            return _Written(self, path)
        try:
            return open(path, "rb")
        except OSError:
            return io.BytesIO()  # the first of its name

    def written(self, path: str, size: int) -> None:
        """A file is whole, or would have been."""
        segment = os.path.basename(path).removesuffix(".tmp") != self._playlist
        if self.failure is None:
            self.playlists += not segment
            self._wanted = 0
        elif segment and not self._wanted and self.failure.errno in FULL:
            self._wanted = size


class _Written:
    """A file that FFmpeg writes; errors are noted, and not told to it, since it would not listen."""

    def __init__(self, files: HlsFiles, path: str) -> None:
        self._files, self._path, self._size = files, path, 0
        self._file: io.FileIO | None = None
        if files.failure is None:
            try:
                self._file = open(path, "wb", buffering=0)  # noqa: SIM115  # FFmpeg calls `close`
            except OSError as error:
                self._fail(error)
        else:
            self._remove()  # one that was left there would be renamed

    def write(self, data: bytes) -> int:
        self._size += len(data)
        rest = memoryview(data)
        while self._file is not None and rest:
            try:
                rest = rest[self._file.write(rest) :]
            except OSError as error:
                self._fail(error)
        return len(data)

    def close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()  # where network file systems tell of what could not be written
            except OSError as error:
                self._fail(error)
        self._files.written(self._path, self._size)

    def _fail(self, error: OSError) -> None:
        self._files.failure = self._files.failure or error
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()
        self._remove()

    def _remove(self) -> None:
        with suppress(OSError):
            os.unlink(self._path)
