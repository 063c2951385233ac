"""GStreamer's RTSP server for tests, as a program for Debian's own Python, which is the one that has its bindings.

    /usr/bin/python3 tests/rtsp_server.py PORT WIDTHxHEIGHT RATE RECORDING [FILM]

Serves rtsp://127.0.0.1:PORT/cam (H.264) and /sound (G.711 beside it, as cameras speak), and takes a stream pushed to
/push, which it records as MPEG-TS. With a FILM (H.264 in Matroska) /film plays that, already encoded, from its start
for each who comes. Prints "ready" when it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
port, size, rate, recording, *films = sys.argv[1:]
width, height = size.split("x")

picture = (
    f"videotestsrc is-live=true pattern=ball ! video/x-raw,width={width},height={height},framerate={rate}/1 "
    f"! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={rate} bitrate=800 ! h264parse config-interval=1 "
    "! rtph264pay name=pay0 pt=96"
)
sound = (
    "audiotestsrc is-live=true freq=440 ! audioconvert ! audioresample ! audio/x-raw,rate=8000,channels=1 ! alawenc "
    "! rtppcmapay name=pay1 pt=8"
)

server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(port)
mounts = server.get_mount_points()
served = [("/cam", f"( {picture} )", True), ("/sound", f"( {picture} {sound} )", True)]
for film in films:
    packets = f"filesrc location={film} ! matroskademux ! h264parse config-interval=1 ! rtph264pay name=pay0 pt=96"
    served.append(("/film", f"( {packets} )", False))
for path, launch, shared in served:
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(launch)
    factory.set_shared(shared)
    mounts.add_factory(path, factory)

record = GstRtspServer.RTSPMediaFactory.new()
record.set_launch(f"( rtph264depay name=depay0 ! h264parse ! mpegtsmux ! filesink location={recording} )")
record.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
mounts.add_factory("/push", record)

if not server.attach(None):
    sys.exit(f"port {port} is taken")
print("ready", flush=True)
GLib.MainLoop().run()
