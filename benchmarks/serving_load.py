"""Clients under load while versions come and go: no request may fail, memory must stay steady.

    python benchmarks/serving_load.py --exported=served/mrpc --seconds=60 --clients=32

Starts `run_server` on a copy of the newest version in --exported, asks it from many clients, and
meanwhile publishes the same version again, and then one whose graph is cut off. Takes --seconds and
what the versions need to load. Ends with an error if a request failed, the new version never
served, or the broken one was not refused.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import numpy as np

PAGE = 4096
PATIENCE = 120  # seconds for a version to load


def main():
    """Runs the server and the clients, and prints what they saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exported", required=True, type=pathlib.Path)
    parser.add_argument("--seconds", default=60.0, type=float)
    parser.add_argument("--clients", default=32, type=int)
    arguments = parser.parse_args()
    versions = [path for path in arguments.exported.iterdir() if path.name.isdecimal()]
    newest = max(versions, key=lambda path: int(path.name))
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work) / "served"
        shutil.copytree(newest, folder / "1")
        server = start_server(folder, pathlib.Path(work) / "server.log")
        try:
            report = load(server, folder, newest, arguments)
        finally:
            server.process.terminate()
            server.process.wait(timeout=60)
    print(json.dumps(report, indent=2))
    problems = problems_of(report)
    if problems:
        sys.exit("; ".join(problems))


class Server:
    """A running `run_server` and its address."""

    def __init__(self, process, address):
        self.process = process
        self.address = address

    def ask(self, path, content=None):
        """Returns what the server answers, parsed."""
        body = None if content is None else json.dumps(content).encode()
        with urllib.request.urlopen(self.address + path, body, timeout=60) as answer:
            return json.loads(answer.read())

    def states(self):
        """Returns {version: (state, error)}."""
        found = self.ask("v1/models/albert")["model_version_status"]
        return {v["version"]: (v["state"], v["status"]["error_message"]) for v in found}

    def memory_megabytes(self):
        """Returns the resident memory, as Linux reports it."""
        statm = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii")
        return int(statm.split()[1]) * PAGE / 1e6


def start_server(folder, log):
    """Returns the `Server` of a folder, once it answers."""
    with open(log, "w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "albert_tf.run_server"),
                *(f"--model_dir={folder}", "--port=0", "--poll_seconds=0.5"),
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    line = process.stdout.readline()
    if "http://" not in line:
        sys.exit(f"the server did not start: {log.read_text(encoding='utf-8')[-2000:]}")
    return Server(process, line.split()[-1])


def load(server, folder, newest, arguments):
    """Asks from many threads, publishes two versions meanwhile, returns the report."""
    sheet = server.ask("v1/models/albert/sheet")
    name = sheet["model"]["serving_default"]
    request = sheet["signatures"][name]["request"]
    seconds, failures, stop = [], [], threading.Event()
    memory = [server.memory_megabytes()]

    def keep_asking():
        while not stop.is_set():
            start = time.monotonic()
            try:
                server.ask("v1/models/albert:predict", request)
            except (OSError, ValueError) as error:
                failures.append(repr(error))
            seconds.append(time.monotonic() - start)

    threads = [threading.Thread(target=keep_asking) for _ in range(arguments.clients)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    seen = {}
    for arrival in (None, "2", "3"):
        if arrival:
            publish(newest, folder / arrival, broken=arrival == "3")
            wait_until_settled(server, arrival)
        for _ in range(2):
            time.sleep(arguments.seconds / 6)
            memory.append(server.memory_megabytes())
        seen |= server.states()
    stop.set()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - begin
    return {
        "clients": arguments.clients,
        "requests": len(seconds),
        "failures": len(failures),
        "first_failure": failures[0] if failures else None,
        "requests_per_second": round(len(seconds) / elapsed, 1),
        "p50_milliseconds": round(1000 * float(np.percentile(seconds, 50)), 1),
        "p95_milliseconds": round(1000 * float(np.percentile(seconds, 95)), 1),
        "versions": seen,
        "memory_megabytes": [round(value) for value in memory],
    }


def wait_until_settled(server, version):
    """Waits until a version serves or is given up; on a busy machine that takes long."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if server.states().get(version, ("absent",))[0] in ("AVAILABLE", "END"):
            return
        time.sleep(0.2)


def publish(newest, target, broken=False):
    """Copies a version under another name, then gives it its own, as an exporter does."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.copytree(newest, partial)
    if broken:
        graph = partial / "saved_model.pb"
        graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    partial.rename(target)


def problems_of(report):
    """Returns what must not be."""
    problems = []
    if report["failures"]:
        problems.append(f"{report['failures']} requests failed")
    if report["versions"].get("2", ("absent",))[0] != "AVAILABLE":
        problems.append("the new version does not serve")
    state, error = report["versions"].get("3", ("absent", ""))
    if state != "END" or not error:
        problems.append("the broken version was not refused and named")
    return problems


if __name__ == "__main__":
    main()
