"""What `derain batch` was asked for: the command line over the preset over the defaults; the job of each file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from esdnet import allowance
from pipeline import presets
from pipeline.batch_files import BatchFile
from pipeline.codec_devices import check_decoder, check_encoder
from pipeline.errors import DerainError, UsageError
from pipeline.files_at_once import files_at_once
from pipeline.job import Job, check_model
from pipeline.restore_options import RestoreOptions
from pipeline.restore_options import check as check_restore
from pipeline.sinks.options import EncodeOptions, encoder_name

_MANY_PARTS = 1000
"""Of a file that is cut into parts: more than any machine derains at a time."""


class BatchOrder:
    """Makes the job of each file.

    Args:
        params: The command's parameters by name.

    Raises:
        UsageError: Options that do not go together, or a preset that is not known.
        DerainError: The folder for the results is none, or the preset cannot be read.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        paths: list[str] = params["paths"]
        if len(paths) < 2:
            raise UsageError("derain batch takes one or more sources and, last, the folder for the results")
        self.sources, self.folder = paths[:-1], paths[-1]
        for what, folder in (("the results", self.folder), ("--save-rain", params["save_rain"])):
            if os.path.exists(folder) and not os.path.isdir(folder):
                raise DerainError(f"{folder}: is a file; {what} of a batch need a folder")
        self.parts: bool = params["ray"] is not None or bool(params["split"])
        """Whether files are cut into parts."""
        self.at_once: int = params["jobs"] or 1
        """How many files are derained at a time."""
        self._params = params
        self._preset = presets.load(params["preset"]) if params["preset"] else presets.Preset()
        self.container: str | None = params["container"] or self._preset.container
        self._encode, self._restore = self._encoding(), self._restoring()
        self._model: str = params["model"] or self._preset.model or "stream"
        self._runtime: str = params["runtime"] or self._preset.runtime or "auto"
        self._check()

    def _check(self) -> None:
        """What is wrong for every file is said once, before the first."""
        check_model(self._model)
        check_restore(self._restore, "", overwrite=True)
        if self._params["ray"] is None:  # the machines of a cluster may have what this one has not
            check_decoder(self._params["decode_device"])
            check_encoder(self._encode.device, encoder_name(self._encode))

    def _encoding(self) -> EncodeOptions:
        params, preset = self._params, self._preset
        # quality and speed are numbers of the preset's own encoder
        same = params["codec"] in (None, preset.codec)
        return EncodeOptions(
            codec=params["codec"] or preset.codec or "libx264",
            crf=params["crf"] if params["crf"] is not None else (preset.crf if same else None),
            preset=preset.preset if same else None,
            pixel_format=params["pixel_format"] or preset.pixel_format,
            overwrite=params["overwrite"],
            device=params["encode_device"],
        )

    def _restoring(self) -> RestoreOptions:
        params, preset = self._params, self._preset
        given = {"strength": params["strength"], "deinterlace": params["deinterlace"]}
        usual = {"strength": preset.strength, "deinterlace": preset.deinterlace}
        chosen = {name: usual[name] if value is None else value for name, value in given.items()}
        return RestoreOptions(
            strength=1.0 if chosen["strength"] is None else chosen["strength"],
            deinterlace=bool(chosen["deinterlace"]),
            region=params["region"],
            strict=params["strict"],
            max_memory=params["max_memory"],
        )

    @property
    def encoder(self) -> str | None:
        """FFmpeg's name of the encoder of the results; None on a cluster, which may have one that is not here."""
        return None if self._params["ray"] is not None else encoder_name(self._encode)

    def share_out(self, files: int) -> None:
        """The machine among so many files, unless `--jobs` says how. Those that will still come in are not known."""
        params = self._params
        if params["jobs"] or params["watch"] or params["ray"] is not None:
            return
        if params["split"] and not params["exact"]:
            files *= _MANY_PARTS
        threads, memory = params["threads"], params["max_memory"]
        self.at_once = files_at_once(files, self._runtime, threads=threads, max_memory=memory)

    def job(self, file: BatchFile) -> Job:
        """The job of one file."""
        params, restore = self._params, self._restore
        if params["save_rain"]:
            layer = os.path.join(params["save_rain"], os.path.relpath(file.destination, self.folder))
            restore = msgspec.structs.replace(restore, save_rain=layer)
        alone = 1 if params["ray"] is not None else max(1, allowance.cores() // self.at_once)
        return Job(
            source=file.source,
            destination=file.destination,
            model=self._model,
            runtime=self._runtime,
            threads=params["threads"] or alone,
            scene_cuts=params["scene_cut"],
            partial=params["partial"],
            decode_device=params["decode_device"],
            encode=self._encode,
            restore=restore,
            segment=params["segment"] if params["resume"] else 0.0,
        )
