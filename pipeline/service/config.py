"""The file of `derain serve`: what listens where, how streams are restarted, and the streams themselves.

Unknown keys are refused, and every error names the line and the key. `defaults` holds settings for all streams, which
each may overrule.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from pipeline.errors import UsageError
from pipeline.redact import redact
from pipeline.service.yaml_lines import YamlFile, dotted, read_yaml
from pipeline.sinks.place import place
from pipeline.sinks.rolling_name import is_template

ID = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""Names of streams: they stand in URLs, labels and file names."""
HOST_NAME = r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]+"
"""Names that a browser may call the service by; an IPv6 address without its brackets."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StreamSettings(_Strict):
    """What `defaults` may hold, and each stream too; the same words as the options of `derain run`."""

    model: str = "stream-nano"
    runtime: str = "auto"
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    """CPU threads of the network; 0: one a core."""
    scene_cuts: bool = True
    codec: str = "libx264"
    crf: Annotated[float | None, Field(ge=0, le=63)] = None
    preset: str | None = None
    on_overload: Literal["skip", "downscale", "passthrough"] = "skip"
    on_loss: Literal["freeze", "slate", "stop"] = "freeze"
    stall_timeout: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """Seconds without a frame after which the source counts as lost."""
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    open_timeout: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Seconds that a connection may take."""
    gop: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Seconds between keyframes."""
    audio: bool = True
    segment_time: Annotated[float, Field(gt=0, le=86400)] = 60.0
    """Seconds of a rolling segment."""
    keep_segments: Annotated[int, Field(ge=0)] = 0
    """How many rolling segments to keep; 0: all."""
    overwrite: bool = False
    """Replace files that are there."""
    preview: bool = True
    """Whether the web page shows pictures of the stream."""
    preview_width: Annotated[int, Field(ge=64, le=1920)] = 768
    """Pixels; two pictures of it, one above the other, fit the level of H.264 that browsers take over WebRTC."""
    preview_fps: Annotated[float, Field(gt=0, le=30)] = 12.5
    autostart: bool = True
    """Whether the stream runs from the start, or waits to be started by hand."""


class StreamConfig(StreamSettings):
    """One stream."""

    id: Annotated[str, Field(pattern=ID)]
    title: Annotated[str, Field(max_length=80)] = ""
    """How the page names it; by default its id."""
    source: Annotated[str, Field(min_length=1)]
    destinations: list[Annotated[str, Field(min_length=1)]] = []
    """Where the derained video goes; none: only the web page shows it."""

    @field_validator("destinations")
    @classmethod
    def _can_be_gone_on_with(cls, destinations: list[str], info: ValidationInfo) -> list[str]:
        """A stream that is started again can't add to a plain file, and must not destroy it unasked."""
        for one in destinations:
            if one == "-":
                raise ValueError("-: a service has no standard output; name a file for segments or an address")
            plain = "://" not in one and not one.startswith("/dev/") and not one.endswith(".m3u8")
            if plain and not is_template(one) and not info.data.get("overwrite"):
                stem, ending = os.path.splitext(one)
                raise ValueError(
                    f"{one}: a stream that is started again can't go on with a plain file; "
                    f"name {stem}-%Y%m%d-%H%M%S{ending}, or set overwrite: true"
                )
        return destinations


class Listen(_Strict):
    """Where the page and the API are."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0: any free one, which is told at start."""
    token_file: str | None = None
    """File with the token that changes need; DERAIN_TOKEN in the environment goes before it."""
    open_reading: bool | None = None
    """Whether reading needs no token; by default so on a loopback address, and nowhere else."""
    names: list[str] = []
    """Host names by which browsers may call the service, besides its address; on loopback always `localhost`."""

    @field_validator("names")
    @classmethod
    def _names_alone(cls, names: list[str]) -> list[str]:
        """They are compared with the name in a browser's Host header, which has neither scheme, port nor path."""
        for name in names:
            if not re.fullmatch(HOST_NAME, name):
                raise ValueError(
                    f"{name!r} is no host name: only letters, digits, '.' and '-', as in derain.example.org"
                )
        return names

    @field_validator("host")
    @classmethod
    def _an_address(cls, host: str) -> str:
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host  # as in an address
        if host != "localhost":
            try:
                ipaddress.ip_address(host)
            except ValueError as error:
                raise ValueError(f"{host!r} is no address; 127.0.0.1 is this machine alone, 0.0.0.0 all") from error
        return host

    @property
    def loopback(self) -> bool:
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback


class Restart(_Strict):
    """How streams that die are started again."""

    first_delay: Annotated[float, Field(ge=0, le=60)] = 0.2
    longest_delay: Annotated[float, Field(ge=0, le=3600)] = 30.0
    limit: Annotated[int, Field(ge=0, le=1000)] = 8
    """Deaths within `window` after which a stream is `failed` and left alone; 0: never."""
    window: Annotated[float, Field(gt=0, le=86400)] = 300.0
    start_timeout: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """Seconds that a process has for its first word: weights are loaded and engines built in that time."""
    hang_timeout: Annotated[float, Field(ge=3, le=3600)] = 10.0
    """Seconds of silence after which a process that still exists is killed and restarted."""

    @model_validator(mode="after")
    def _delays_in_order(self) -> Self:
        if self.first_delay > self.longest_delay:
            raise ValueError(f"first_delay ({self.first_delay:g}) is above longest_delay ({self.longest_delay:g})")
        return self


class Tracing(_Strict):
    """OpenTelemetry spans, sent over OTLP/HTTP."""

    endpoint: Annotated[str, Field(pattern=r"^https?://")]
    service_name: str = "derain"


class WebRtc(_Strict):
    """The live picture over WebRTC; with `enabled: false` the page uses MJPEG."""

    enabled: bool = True
    viewers: Annotated[int, Field(ge=1, le=64)] = 4
    """How many at once; each costs an encoder. Further ones get MJPEG."""


class ServiceConfig(_Strict):
    """The whole file."""

    listen: Listen = Listen()
    restart: Restart = Restart()
    drain_seconds: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """Seconds that a stream has to close its files when it is stopped."""
    lease_folder: str | None = None
    """A folder that all workers see; without it, no leases: this is the only worker."""
    max_streams: Annotated[int, Field(ge=1)] | None = None
    """How many streams this worker runs at most; the others wait for a lease. Needs lease_folder."""
    webrtc: WebRtc = WebRtc()
    tracing: Tracing | None = None
    defaults: StreamSettings = StreamSettings()
    streams: list[StreamConfig] = []


def load_config(path: str, others: Sequence[StreamConfig] = ()) -> ServiceConfig:
    """Read and check a file.

    Args:
        path: The file.
        others: Streams that run besides those of the file; one with the name of one in the file gives way to it.

    Raises:
        DerainError: It can't be read or is not YAML (see `read_yaml`).
        UsageError: It says something that can't be meant: the line, the key and what is wrong with it; all of them.
    """
    file = read_yaml(path)
    content = {} if file.content is None else file.content
    if not isinstance(content, dict):
        raise UsageError(f"{path}:1: a mapping of keys is expected (listen, streams …), not {_kind(content)}")
    defaults = content.get("defaults")
    streams = content.get("streams")
    if isinstance(defaults, dict) and isinstance(streams, list):
        known = {key: value for key, value in defaults.items() if key in StreamSettings.model_fields}
        streams = [known | one if isinstance(one, dict) else one for one in streams]
        content = content | {"streams": streams}
    try:
        config = ServiceConfig.model_validate(content)
    except ValidationError as error:
        raise UsageError("; ".join(_errors(error, file))) from error
    _check_streams(config, file, others)
    if config.max_streams is not None and config.lease_folder is None:
        raise UsageError(f"{path}:{file.line(('max_streams',))}: max_streams needs lease_folder: who runs the others?")
    return config


def parse_stream(content: Any, defaults: StreamSettings) -> StreamConfig:
    """A stream as the API gets it.

    Raises:
        UsageError: What is wrong with it, key by key.
    """
    if not isinstance(content, dict):
        raise UsageError(f"a stream is an object with id, source and destinations, not {_kind(content)}")
    try:
        return StreamConfig.model_validate(defaults.model_dump(exclude_unset=True) | content)
    except ValidationError as error:
        raise UsageError("; ".join(_errors(error, None))) from error


def _errors(error: ValidationError, file: YamlFile | None) -> list[str]:
    """One text for each thing wrong, once: a wrong default is not told for each stream again."""
    said: dict[str, None] = {}
    for one in error.errors(include_url=False, include_context=False, include_input=True):
        place = one["loc"]
        where = f"{file.path}:{file.line(place)}: " if file else ""
        if file and place[:1] == ("streams",) and place not in file.lines and one["type"] != "missing":
            continue  # came from `defaults`, where it is wrong already
        key = dotted(place)
        if one["type"] == "extra_forbidden":
            said[f"{where}{key}: unknown key; {_known(place, in_file=file is not None)}"] = None
        elif one["type"] == "missing":
            said[f"{where}{key} is missing"] = None
        elif one["type"] == "string_pattern_mismatch" and place[-1:] == ("id",):
            said[f"{where}{key}: {one['input']!r}: a-z, 0-9, - and _ only, at most 63, beginning with a-z or 0-9"] = (
                None
            )
        else:
            given = one["input"]
            shown = f" (given: {redact(str(given))[:60]!r})" if isinstance(given, str | int | float | bool) else ""
            said[f"{where}{key}: {one['msg'].removeprefix('Value error, ')}{shown}"] = None
    return list(said)


def _known(place: tuple[str | int, ...], *, in_file: bool) -> str:
    """The keys that would have been known there: in the file, or in a stream by itself."""
    groups: dict[str, type[BaseModel]] = {
        "listen": Listen, "restart": Restart, "defaults": StreamSettings, "streams": StreamConfig,
        "tracing": Tracing, "webrtc": WebRtc,
    }  # fmt: skip
    if not in_file:
        group: type[BaseModel] = StreamConfig
    else:
        group = groups.get(str(place[0]), ServiceConfig) if len(place) > 1 else ServiceConfig
    return f"known are {', '.join(sorted(group.model_fields))}"


def _check_streams(config: ServiceConfig, file: YamlFile, others: Sequence[StreamConfig]) -> None:
    seen: dict[str, int] = {}
    named = {stream.id for stream in config.streams}
    writers = {place(one): other.id for other in others if other.id not in named for one in other.destinations}
    for index, stream in enumerate(config.streams):
        if stream.id in seen:
            first = file.line(("streams", seen[stream.id], "id"))
            line = file.line(("streams", index, "id"))
            raise UsageError(f"{file.path}:{line}: streams[{index}].id: {stream.id!r} is taken (line {first})")
        seen[stream.id] = index
        for number, destination in enumerate(stream.destinations):
            if (other := writers.setdefault(place(destination), stream.id)) != stream.id:
                line = file.line(("streams", index, "destinations", number))
                raise UsageError(
                    f"{file.path}:{line}: streams[{index}].destinations[{number}]: {taken(destination, other)}"
                )


def taken(destination: str, by: str) -> str:
    """What is said where two streams would have one destination."""
    return f"{redact(destination)} is where the stream {by!r} writes already"


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", dict: "a mapping", type(None): "nothing"}.get(type(value), "a number")
