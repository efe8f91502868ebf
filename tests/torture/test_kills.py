"""Kills, SIGTERM and second starts: the same bits, nothing half-written visible, nothing left over.

ALBERT_TF_TORTURE=full python -m pytest -m torture tests/torture/test_kills.py -s
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

KILLS = {"small": 12, "full": 120}[os.environ.get("ALBERT_TF_TORTURE", "small")]


@pytest.mark.torture
def test_disturbed_runs_end_as_if_nothing_had_happened(tmp_path):
    program = pathlib.Path(__file__).parent / "kill_runs.py"
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "runs"), str(KILLS)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    print(f"\nkills and starts: {counts}")
    assert not counts["wrong"], "\n".join(counts["wrong"])
    assert counts["kills"] >= KILLS * 3 // 4
    assert counts["refused"] == 3
