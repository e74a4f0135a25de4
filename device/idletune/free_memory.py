"""How much memory the system can give, and whether it is short: by the kernel's files. None: unknown."""

from pathlib import Path

MB = 1e6
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
STALLED_PERCENT = 10.0  # share of the last 10 seconds in which some process waited for memory


def available_mb(proc: Path = PROC, cgroups: Path = CGROUPS) -> float | None:
    """MemAvailable (proc(5)), or what the process's control group still allows where that is less, in MB."""
    known = [size for size in (_of_system(proc), _of_group(proc, cgroups)) if size is not None]
    return min(known) / MB if known else None


def is_stalled(proc: Path = PROC) -> bool:
    """Whether processes wait for memory: pressure stall information (kernel documentation, accounting/psi)."""
    for line in _lines(proc / "pressure" / "memory"):
        if line.startswith("some avg10="):
            return _number(line.split()[1].removeprefix("avg10=")) >= STALLED_PERCENT
    return False


def _of_system(proc: Path) -> int | None:
    for line in _lines(proc / "meminfo"):
        words = line.split()
        if len(words) >= 2 and words[0] == "MemAvailable:" and words[1].isdecimal():
            return int(words[1]) * 1024
    return None


def _of_group(proc: Path, cgroups: Path) -> int | None:
    """Bytes below the limit of the control group (version 2); cached pages of files can be taken back."""
    path = next((line[3:].strip("/") for line in _lines(proc / "self" / "cgroup") if line.startswith("0::")), None)
    if path is None:
        return None
    folder = cgroups / path
    most, used = ("".join(_lines(folder / f"memory.{name}")) for name in ("max", "current"))
    if not most.isdecimal() or not used.isdecimal():
        return None  # "max": no limit
    cached = [line.split()[1] for line in _lines(folder / "memory.stat") if line.startswith("inactive_file ")]
    return max(0, int(most) - int(used) + sum(map(int, cached)))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
