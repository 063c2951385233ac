"""Live streams: sources that come and go, several outputs, the newest frame first. `python -m pipeline.live` runs one.

    camera ─▶ decode ──▶ derain ──▶ encode ──packets──▶ output ─▶ file, HLS, RTMP …
                 └────────sound────────▲  └───packets──▶ output

Each box is a process of its own, and so is each output: PyAV opens and closes what it writes with the interpreter's
lock held, so an unreachable server would otherwise stop everything beside it. `session` is the front: it starts them,
replaces what dies, and tells how the stream is doing.
"""
