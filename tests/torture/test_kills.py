"""Kills, SIGTERM and second starts: the same bits, nothing half-written visible, nothing left over.

ALBERT_TF_TORTURE=full python -m pytest -m torture tests/torture/test_kills.py -s
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

SIZE = os.environ.get("ALBERT_TF_TORTURE", "small")
KILLS = {"small": 12, "full": 200}[SIZE]
WORKER_KILLS = {"small": 2, "full": 30}[SIZE]
BEAM_KILLS = {"small": 2, "full": 20}[SIZE]


def disturb(program, folder, kills):
    """Returns the counts of a program beside this one."""
    path = pathlib.Path(__file__).with_name(program)
    done = subprocess.run(
        [sys.executable, str(path), str(folder), str(kills)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{program}: {counts}")
    assert not counts["wrong"], "\n".join(counts["wrong"])
    return counts


@pytest.mark.torture
def test_disturbed_runs_end_as_if_nothing_had_happened(tmp_path):
    counts = disturb("kill_runs.py", tmp_path / "runs", KILLS)
    assert counts["kills"] >= KILLS // 2  # some runs end before theirs
    assert counts["refused"] == 4


@pytest.mark.torture
def test_runs_that_lose_workers_go_on_with_another_number_and_end_with_the_same_bits(tmp_path):
    counts = disturb("kill_workers.py", tmp_path / "runs", WORKER_KILLS)
    assert counts["chief_kills"] + counts["worker_kills"] >= WORKER_KILLS
    assert counts["same_bits"] == counts["runs"]
    assert counts["longest_end"] < 60


@pytest.mark.torture
@pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="needs the extra [beam]"
)
def test_builds_on_beam_that_lose_processes_end_with_the_same_bytes(tmp_path):
    counts = disturb("kill_beam.py", tmp_path / "builds", BEAM_KILLS)
    assert counts["kills"] >= BEAM_KILLS * 3 // 4
    assert counts["same_bytes"] == counts["builds"]
