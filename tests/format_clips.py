"""Clips of every property that a result has to keep, made by the ffmpeg command, and what ffprobe says of a file.

Both are the system's FFmpeg (Debian's 5.1), another build than the one inside PyAV that the pipeline uses: an
independent writer and reader.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PICTURE = "testsrc2=size={size}:rate=25:duration=0.32"
_HDR10 = (
    "hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):log-level=none"
)
_BT2020 = "-color_primaries bt2020 -colorspace bt2020nc -color_trc {} -color_range tv -pix_fmt yuv420p10le"
_X264 = "-c:v libx264 -preset ultrafast"
_FIELDS = "-flags +ilme+ildct -vf setfield=tff"


@dataclass(frozen=True)
class Case:
    """One clip.

    Args:
        name: Of the file, with its ending.
        video: Options for the video.
        codec: What the result is encoded with.
        size: Of the picture.
        more: Inputs beside the picture, and what is mapped and written of them; the picture is input 0.
        copied: Options with which the finished clip is copied once more.
        files: Text of the files that are its inputs, by name.
        result: Ending of the result, where it is not the clip's.
    """

    name: str
    video: str
    codec: str = "libx264"
    size: str = "96x64"
    more: tuple[str, str] = ("", "")
    copied: str = ""
    files: dict[str, str] = field(default_factory=dict)
    result: str = ""


_TONE = "-f lavfi -i sine=duration=0.4"
_SUBTITLES = "1\n00:00:00,100 --> 00:00:00,300\nRain\n"
_CHAPTERS = ";FFMETADATA1\ntitle=A film\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=160\ntitle=One\n"
_CHAPTERS += "[CHAPTER]\nTIMEBASE=1/1000\nSTART=160\nEND=320\ntitle=Two\n"
_LANGUAGES = " ".join(
    f"-metadata:s:a:{n} language={code}" for n, code in enumerate(("eng", "deu", "fra", "jpn", "spa"))
)
_TRACKS = (
    f"{_TONE} -i subtitles.srt -i chapters.txt",
    "-map 0:v -map 1:a -map 1:a -map 1:a -map 1:a -map 1:a -map 2:s -map 2:s -map_metadata 3 -map_chapters 3 "
    "-c:a:0 aac -c:a:1 ac3 -c:a:2 flac -c:a:3 libopus -c:a:4 libmp3lame -c:s:0 srt -c:s:1 ass "
    f"{_LANGUAGES} -disposition:a:1 default+forced -disposition:s:1 hearing_impaired "
    "-attach notes.txt -metadata:s:t mimetype=text/plain",
)
_BESIDE = {"subtitles.srt": _SUBTITLES, "chapters.txt": _CHAPTERS, "notes.txt": "not a film\n"}
_SIXTEEN = (_TONE, "-map 0:v " + "-map 1:a " * 16 + "-c:a aac -metadata:s:a:15 language=nld")

CASES = [
    Case("h264-10-bit.mp4", f"{_X264} -pix_fmt yuv420p10le"),
    Case("h264-422.mkv", f"{_X264} -pix_fmt yuv422p"),
    Case("h264-444-10-bit.mkv", f"{_X264} -pix_fmt yuv444p10le"),
    Case("full-range.mp4", f"{_X264} -pix_fmt yuvj420p -color_range pc"),
    Case("bt2020.mp4", f"{_X264} {_BT2020.format('bt2020-10')}"),
    Case("hlg.mkv", f"{_X264} {_BT2020.format('arib-std-b67')}"),
    Case(
        "h265-10-bit.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p10le", "libx265"
    ),
    Case("hdr10.mkv", f"-c:v libx265 -preset ultrafast -x265-params {_HDR10} {_BT2020.format('smpte2084')}", "libx265"),
    Case("hdr10.mp4", f"-c:v libx265 -preset ultrafast -x265-params {_HDR10} {_BT2020.format('smpte2084')}", "libx265"),
    Case(
        "variable-rate.mp4",
        f"{_X264} -bf 2 -vf settb=1/1000,setpts=N*N*8+40 -fps_mode passthrough -enc_time_base 1:1000",
    ),
    Case(
        "variable-rate.mkv",
        f"{_X264} -bf 2 -vf settb=1/1000,setpts=N*N*8+40 -fps_mode passthrough -enc_time_base 1:1000",
    ),
    Case("rotated.mp4", _X264, copied="-metadata:s:v rotate=90"),
    Case("rotated.mov", _X264, copied="-metadata:s:v rotate=180"),
    Case("interlaced.mp4", f"{_X264} {_FIELDS} -x264opts tff=1"),
    Case("pixel-shape.mkv", f"{_X264} -aspect 16:9"),
    Case("many-tracks.mkv", _X264, more=_TRACKS, files=_BESIDE),
    Case("sixteen-tracks.mp4", _X264, more=_SIXTEEN),
    Case("edit-list.mp4", f"{_X264} -bf 2", more=(f"-itsoffset 0.15 {_TONE}", "-map 0:v -map 1:a -c:a aac")),
    Case("cover-art.mp4", f"{_X264} -c:v:1 png -disposition:v:1 attached_pic", more=("-i cover.png", "-map 0 -map 1")),
    Case("timecode.mov", f"{_X264} -timecode 01:00:00:00"),
    Case("prores-422.mov", "-c:v prores_ks -profile:v 3 -pix_fmt yuv422p10le", "prores"),
    Case("prores-4444.mov", "-c:v prores_ks -profile:v 4 -pix_fmt yuva444p10le", "prores"),
    Case("prores-fields.mov", f"-c:v prores_ks -pix_fmt yuv422p10le {_FIELDS}", "prores"),
    Case("dnxhr.mov", "-c:v dnxhd -profile:v dnxhr_hq -pix_fmt yuv422p", size="256x128"),
    Case("mjpeg.mov", "-c:v mjpeg -pix_fmt yuvj420p -color_range pc"),
    Case("mpeg2.ts", f"-c:v mpeg2video -b:v 2M -aspect 16:9 {_FIELDS} -top 1", result=".mkv"),
    Case("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -aspect 16:9", "libvpx-vp9"),
    Case("av1.mp4", "-c:v libsvtav1 -preset 12 -pix_fmt yuv420p10le -aspect 16:9", "libsvtav1"),
    Case("ffv1-gbr.mkv", "-c:v ffv1 -pix_fmt gbrp10le", "ffv1"),
]


def make(case: Case, folder: Path) -> Path:
    """Write the clip into a folder."""
    for name, text in case.files.items():
        (folder / name).write_text(text)
    if "cover.png" in case.more[0]:
        run("-f", "lavfi", "-i", "testsrc2=size=16x16", "-frames:v", "1", "cover.png", at=folder)
    inputs, mapped = (part.split() for part in case.more)
    picture = ["-f", "lavfi", "-i", _PICTURE.format(size=case.size)]
    first = f"first-{case.name}" if case.copied else case.name
    run(*picture, *inputs, *mapped, *case.video.split(), first, at=folder)
    if case.copied:
        run("-i", first, "-c", "copy", *case.copied.split(), case.name, at=folder)
    return folder / case.name


def run(*arguments: str, at: Path) -> str:
    """What the ffmpeg command prints."""
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments]
    done = subprocess.run(command, cwd=at, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


_OF_VIDEO = ("width", "height", "pix_fmt", "color_space", "color_transfer", "color_primaries")
_OF_FRAMES = ("best_effort_timestamp_time", "interlaced_frame", "top_field_first")
_OWN_TAGS = ("encoder", "duration", "handler_name", "vendor_id", "major_brand", "minor_version", "compatible_brands")
_OWN_TAGS += ("creation_time", "rotate", "bps", "_statistics")


def probed(path: Path) -> dict[str, Any]:
    """What ffprobe says of a file, as far as a result has to keep it."""
    asked = ["-show_format", "-show_streams", "-show_chapters", "-show_packets", "-show_frames"]
    command = ["ffprobe", "-loglevel", "error", "-of", "json", *asked, "-show_data_hash", "md5", str(path)]
    held = json.loads(subprocess.check_output(command, timeout=30))
    video, *others = sorted(held["streams"], key=lambda stream: not _is_film(stream))
    read = held["packets_and_frames"]
    frames = [frame for frame in read if frame["type"] == "frame" and frame["stream_index"] == video["index"]]
    return {
        **{key: video.get(key) for key in _OF_VIDEO},
        "chroma location": video.get("chroma_location", "left"),  # what is not said is left
        "pixel shape": video.get("sample_aspect_ratio", "1:1"),
        "full range": video.get("color_range") == "pc",
        "rotation": [side["rotation"] for side in video.get("side_data_list", []) if "rotation" in side],
        "frames": [[frame.get(key) for key in _OF_FRAMES] for frame in frames],
        "side data": [_side_data(frame) for frame in frames[:1]],
        "others": sorted((_other(stream, read) for stream in others), key=str),
        "chapters": [(c["start_time"], c["end_time"], c["tags"]["title"]) for c in held["chapters"]],
        "tags": _tags(held["format"]),
        "video tags": _tags(video),
    }


def _is_film(stream: dict[str, Any]) -> bool:
    return stream["codec_type"] == "video" and not stream["disposition"]["attached_pic"]


def _side_data(frame: dict[str, Any]) -> list[dict[str, Any]]:
    wanted = ("Mastering display metadata", "Content light level metadata")
    return sorted((s for s in frame.get("side_data_list", []) if s["side_data_type"] in wanted), key=str)


def _other(stream: dict[str, Any], read: list[dict[str, Any]]) -> tuple[Any, ...]:
    """A stream that is copied, with the times and digests of its packets."""
    kept = [name for name, on in stream["disposition"].items() if on]
    packets = [p for p in read if p["type"] == "packet" and p["stream_index"] == stream["index"]]
    content = [(packet.get("pts_time"), packet["data_hash"]) for packet in packets]
    return stream["codec_type"], stream.get("codec_name"), kept, _tags(stream), content


def _tags(of: dict[str, Any]) -> dict[str, str]:
    tags = {key.lower(): value for key, value in of.get("tags", {}).items()}
    return {key: value for key, value in tags.items() if not key.startswith(_OWN_TAGS)}
