"""What a process may use of its machine, from made-up control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from esdnet import allowance

GB = 10**9


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """64 GB, 50 free."""
    meminfo = "MemTotal:       62500000 kB\nMemFree: 1 kB\nMemAvailable:   48828125 kB\nHugePages_Total:       0\n"
    for name, text in ({"proc/meminfo": meminfo, "proc/self/cgroup": groups} | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_a_machine_without_limits(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/user.slice", {"sys/fs/cgroup/user.slice/cpu.max": "max 100000"})
    assert (allowance.cores(root), allowance.limited_cores(root), allowance.codec_threads(root)) == (16, 0, 0)
    assert allowance.memory(root) == (64 * GB, 50 * GB)


def test_where_the_system_does_not_tell(tmp_path: Path) -> None:
    assert (allowance.cores(tmp_path), allowance.memory(tmp_path)) == (16, (0, 0))


def test_a_container(tmp_path: Path) -> None:
    """In a container that might use two of 64 cores the network took 64 threads, which the kernel then stopped together
    for most of every tenth of a second."""
    limits = {
        "sys/fs/cgroup/cpu.max": "250000 100000",
        "sys/fs/cgroup/memory.max": str(8 * GB),
        "sys/fs/cgroup/memory.current": str(6 * GB),
        "sys/fs/cgroup/memory.stat": f"anon {GB}\ninactive_file {3 * GB}\nactive_file 12",
    }
    root = machine(tmp_path, "0::/", limits)
    assert (allowance.cores(root), allowance.codec_threads(root)) == (2, 2)
    assert allowance.memory(root) == (8 * GB, 5 * GB)


def test_half_a_core_is_one_thread(tmp_path: Path) -> None:
    assert allowance.cores(machine(tmp_path, "0::/", {"sys/fs/cgroup/cpu.max": "50000 100000"})) == 1


def test_more_than_there_is_changes_nothing(tmp_path: Path) -> None:
    limits = {
        "sys/fs/cgroup/cpu.max": "3200000 100000",
        "sys/fs/cgroup/memory.max": str(900 * GB),
        "sys/fs/cgroup/memory.current": str(6 * GB),
    }
    root = machine(tmp_path, "0::/", limits)
    assert (allowance.cores(root), allowance.codec_threads(root)) == (16, 0)
    assert allowance.memory(root) == (64 * GB, 50 * GB)


def test_the_tightest_of_the_groups_above_counts(tmp_path: Path) -> None:
    limits = {
        "sys/fs/cgroup/system.slice/derain.service/cpu.max": "800000 100000",
        "sys/fs/cgroup/system.slice/cpu.max": "300000 100000",
        "sys/fs/cgroup/cpu.max": "max 100000",
    }
    assert allowance.cores(machine(tmp_path, "0::/system.slice/derain.service", limits)) == 3


def test_the_first_version_of_control_groups(tmp_path: Path) -> None:
    """Seen from within a container: the paths are the host's, and only its own part is mounted."""
    groups = "5:cpu,cpuacct:/docker/4f2a\n4:memory:/docker/4f2a\n0::/"
    limits = {
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": str(4 * GB),
        "sys/fs/cgroup/memory/memory.usage_in_bytes": str(3 * GB),
        "sys/fs/cgroup/memory/memory.stat": f"total_inactive_file {GB}",
    }
    root = machine(tmp_path, groups, limits)
    assert allowance.cores(root) == 4
    assert allowance.memory(root) == (4 * GB, 2 * GB)
    unlimited = limits | {
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    }
    assert allowance.cores(machine(tmp_path, groups, unlimited)) == 16
    assert allowance.memory(root) == (64 * GB, 50 * GB)
