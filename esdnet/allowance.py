"""What this process may use of the machine: its affinity, and the limits of the container it runs in.

A container on 64 cores that may use two of them sees all 64. Sixty-four threads are then stopped together for most of
every tenth of a second (the kernel's CFS quota), and so are the codecs beside them. Limits are read from the process's
control groups, version 2 and 1, and from those above (man 7 cgroups; Linux' admin-guide/cgroup-v2).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def cores(root: Path = _ROOT) -> int:
    """Whole cores, at least 1. `root` is where the file system begins."""
    return min(affine_cores(), limited_cores(root) or affine_cores())


def affine_cores() -> int:
    """Cores that this process may run on, however long."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limited_cores(root: Path = _ROOT) -> int:
    """How many cores' time the control groups grant, at least 1; 0 where they do not limit it."""
    granted: list[float] = []
    for group, version in _groups(root, "cpu"):
        if version == 2:
            quota, _, period = _text(group / "cpu.max").partition(" ")
        else:
            quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():  # "max" and -1 are no limit
            granted.append(int(quota) / max(int(period), 1))
    return max(1, int(min(granted))) if granted else 0


def codec_threads(root: Path = _ROOT) -> int:
    """For codecs, which know of affinity alone: 0, their own choice, unless fewer cores are granted."""
    limited = limited_cores(root)
    return limited if limited < affine_cores() else 0


def memory(root: Path = _ROOT) -> tuple[int, int]:
    """Total and free bytes: what may still be taken without swapping. Zeros where the system does not tell."""
    rows = dict(line.split(":", 1) for line in _text(root / "proc/meminfo").splitlines() if ":" in line)
    try:
        total, free = (int(rows[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    except (KeyError, ValueError, IndexError):
        return 0, 0
    for group, version in _groups(root, "memory"):
        names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        limit, used = (_text(group / name) for name in names)
        if not limit.isdigit() or not used.isdigit() or int(limit) >= total:
            continue
        stat = dict(line.split(" ", 1) for line in _text(group / "memory.stat").splitlines() if " " in line)
        # files read once, which the kernel drops where memory is wanted
        dropped = int(stat.get("inactive_file" if version == 2 else "total_inactive_file", 0))
        total = min(total, int(limit))
        free = min(free, max(0, int(limit) - int(used) + dropped))
    return total, free


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Folders of the process's control groups for a controller, the innermost first, and their version."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        mounted = root / "sys/fs/cgroup" / (controller if names else "")
        # Within a container the path is often the host's, of which only the container's own part is mounted.
        inner = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(inner), -1, -1):
            group = mounted.joinpath(*inner[:depth])
            if group.is_dir():
                yield group, 1 if names else 2


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
