"""Real streaming servers for tests, as Debian packages them: GStreamer's RTSP server and nginx with its RTMP module."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

SYSTEM_PYTHON = "/usr/bin/python3"
_BINDINGS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer, Gst;"
_PLUGINS = (
    "Gst.init(None); import sys;"
    "sys.exit(any(Gst.ElementFactory.find(n) is None for n in ('x264enc', 'rtph264pay', 'alawenc', 'mpegtsmux')))"
)
_NGINX_MODULES = ("/usr/lib/nginx/modules/ngx_rtmp_module.so",)


def why_no_rtsp_server() -> str:
    """What is missing for `RtspServer`; empty where it can run."""
    needs = (
        "GStreamer's RTSP server is missing: apt install python3-gi gir1.2-gst-rtsp-server-1.0 "
        "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
    )
    if not Path(SYSTEM_PYTHON).exists():
        return needs
    tried = subprocess.run([SYSTEM_PYTHON, "-c", _BINDINGS + _PLUGINS], capture_output=True, timeout=120)
    return needs if tried.returncode else ""


def why_no_rtmp_server() -> str:
    """What is missing for `RtmpServer`; empty where it can run."""
    if shutil.which("nginx") is None or not Path(_NGINX_MODULES[0]).exists():
        return "nginx with RTMP is missing: apt install nginx-light libnginx-mod-rtmp"
    return ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Server:
    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Start it, at the same port as before, and wait until it listens."""
        self._process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.1)
        raise AssertionError(f"{self.command()[0]} does not listen (exit code {self._process.poll()})")

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class RtspServer(_Server):
    """Serves a ball at /cam, with G.711 beside it at /sound, and records what is pushed to /push in `recording`. A film
    (H.264 in Matroska) is played at /film, which costs the machine little: nothing is encoded then."""

    def __init__(self, folder: Path, size: str = "160x120", rate: int = 25, film: Path | None = None) -> None:
        super().__init__()
        self.recording = folder / "pushed.ts"
        self._size, self._rate, self._film = size, rate, film

    def url(self, path: str) -> str:
        return f"rtsp://127.0.0.1:{self.port}/{path}"

    def command(self) -> list[str]:
        program = str(Path(__file__).parent / "rtsp_server.py")
        films = [str(self._film)] if self._film else []
        return [SYSTEM_PYTHON, program, str(self.port), self._size, str(self._rate), str(self.recording), *films]


class RtmpServer(_Server):
    """Takes streams at rtmp://…/live/NAME and gives them out again at the same address."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._config = folder / "nginx.conf"
        self._config.write_text(
            f"""
            load_module {_NGINX_MODULES[0]};
            daemon off; master_process off; worker_processes 1;
            pid {folder}/nginx.pid; error_log {folder}/nginx.log;
            events {{ worker_connections 64; }}
            rtmp {{ server {{ listen 127.0.0.1:{self.port}; chunk_size 4096;
                application live {{ live on; record off; }} }} }}
            """
        )

    def url(self, name: str) -> str:
        return f"rtmp://127.0.0.1:{self.port}/live/{name}"

    def command(self) -> list[str]:
        return ["nginx", "-c", str(self._config), "-e", str(self._config.parent / "nginx.log")]
