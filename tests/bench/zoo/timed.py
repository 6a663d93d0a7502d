"""Runs a command and writes what it took: python -m tests.bench.zoo.timed FILE.json COMMAND...

In a process of its own, for Linux counts the memory of whoever starts a command as the command's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Write CPU seconds and peak megabytes; return the command's exit code."""
    target, *command = arguments
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = usage.ru_utime + usage.ru_stime
    took = {"cpu_seconds": seconds, "peak_megabytes": usage.ru_maxrss * 1024 / 1e6}
    Path(target).write_text(json.dumps(took), encoding="utf-8")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
