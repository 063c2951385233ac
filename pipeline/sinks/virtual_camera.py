"""A virtual camera: the stream as a webcam that other programs can open (v4l2loopback, through pyvirtualcam)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from pipeline.errors import DerainError
from pipeline.live.messages import Coded

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext


class VirtualCamera:
    """Decodes the stream's packets again and shows the pictures; sound is left out, as cameras have none.

    Args:
        device: As "/dev/video2".
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._camera: Any = None
        self._decoder: VideoCodecContext | None = None
        self.codecs = 0
        self.left_out = 0

    @property
    def is_open(self) -> bool:
        return self._decoder is not None

    def open(self, coded: Coded, codecs: bytes) -> None:
        """As `LiveMuxer.open`; the camera itself opens with the first picture."""
        import av

        self.close()
        with av.open(io.BytesIO(codecs), format="nut") as template:
            held = template.streams.video[0].codec_context
            decoder = av.CodecContext.create(held.name, "r")
            decoder.extradata = held.extradata
        self._decoder, self.codecs = decoder, coded.codecs  # type: ignore[assignment]

    def write(self, coded: Coded, data: bytes, codecs: bytes) -> None:
        """Show the picture of a packet. DerainError where the device does not take it."""
        import av

        if codecs and coded.codecs != self.codecs:
            self.open(coded, codecs)
        if self._decoder is None or coded.stream != 0:
            return
        for frame in self._decoder.decode(av.Packet(data)):
            self._show(frame.to_ndarray(format="rgb24"))

    def close(self) -> None:
        camera, self._camera = self._camera, None
        self._decoder = None
        if camera is not None:
            camera.close()

    abandon = close

    def _show(self, picture: Any) -> None:
        import pyvirtualcam

        height, width = picture.shape[:2]
        try:
            if self._camera is None:
                self._camera = pyvirtualcam.Camera(width, height, fps=25, device=self._device, backend="v4l2loopback")
            self._camera.send(picture)
        except (RuntimeError, OSError) as error:
            self.close()
            raise DerainError(f"{self._device}: is no virtual camera that can be written ({error})") from error
