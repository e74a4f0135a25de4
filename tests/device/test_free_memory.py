"""What the kernel's files say of memory."""

from idletune.free_memory import available_mb, is_stalled

MEMINFO = "MemTotal: 8000000 kB\nMemAvailable: 1000000 kB\n"


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_system_and_the_control_group_both_limit_it(tmp_path):
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    assert available_mb(proc, groups) is None
    write(proc, "meminfo", MEMINFO)
    assert available_mb(proc, groups) == 1024
    write(proc, "self/cgroup", "0::/app/one\n")
    assert available_mb(proc, groups) == 1024
    for most, used, expected in (("max", 5, 1024), (700_000_000, 300_000_000, 500), (100, 200_000_000, 0)):
        write(groups, "app/one/memory.max", f"{most}\n")
        write(groups, "app/one/memory.current", f"{used}\n")
        write(groups, "app/one/memory.stat", "anon 7\ninactive_file 100000000\n")
        assert available_mb(proc, groups) == expected


def test_waiting_processes_tell_of_short_memory(tmp_path):
    assert not is_stalled(tmp_path)
    for share, stalled in (("0.00", False), ("9.99", False), ("12.50", True), ("x", False)):
        write(
            tmp_path, "pressure/memory", f"some avg10={share} avg60=0.00 avg300=0.00 total=1\nfull avg10=50 total=1\n"
        )
        assert is_stalled(tmp_path) is stalled
