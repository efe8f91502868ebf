"""Files and folders appear whole or not at all; a folder has one user."""

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from albert_tf import stop_signals, whole_files

HOLD = """
import sys, time
from albert_tf import whole_files
with whole_files.only_run_in(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(directory):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "results.json"
    whole_files.write_json(path, {"a": 1})
    with pytest.raises(ZeroDivisionError), whole_files.whole_file(path) as file:
        file.write("half")
        raise ZeroDivisionError
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_full_disk_is_named_and_is_no_want_of_memory(tmp_path):
    import tensorflow as tf

    from albert_tf import tensorflow_writes

    said = "{{function_node x}} a/b.tmp; No space left on device\n\tFailed to flush [Op:SaveV2]"
    with pytest.raises(OSError, match=r"^out cannot be written: a/b.tmp; No space left on device$"):
        with tensorflow_writes.errors_name("out"):
            raise tf.errors.ResourceExhaustedError(None, None, said)
    with pytest.raises(OSError, match="No space left on device: 'metrics.jsonl'"):
        with whole_files.errors_name("metrics.jsonl"), open("/dev/full", "w") as file:
            file.write("x")


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        whole_files.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not os.listdir(tmp_path)


def test_a_directory_appears_whole_or_not_at_all(tmp_path):
    with whole_files.whole_directory(tmp_path / "model") as folder:
        (folder / "weights").write_text("w")
        assert not (tmp_path / "model").exists()
    assert (tmp_path / "model" / "weights").read_text() == "w"
    with pytest.raises(ZeroDivisionError), whole_files.whole_directory(tmp_path / "x"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["model"]
    with pytest.raises(FileExistsError, match="model exists already"):
        whole_files.whole_directory(tmp_path / "model").__enter__()


def test_a_removed_directory_leaves_nothing(tmp_path):
    (tmp_path / "step" / "deep").mkdir(parents=True)
    whole_files.remove_directory(tmp_path / "step")
    whole_files.remove_directory(tmp_path / "step")
    assert not os.listdir(tmp_path)


def test_partials_of_killed_writers_are_removed(tmp_path):
    (tmp_path / ".step.partial").mkdir()
    (tmp_path / ".run.json.partial").write_text("{")
    (tmp_path / "kept").write_text("x")
    whole_files.remove_partials(tmp_path)
    assert os.listdir(tmp_path) == ["kept"]


@pytest.mark.parametrize("writer", [whole_files.whole_file, whole_files.whole_directory])
def test_a_second_writer_of_a_path_is_refused_and_the_first_keeps_what_it_wrote(tmp_path, writer):
    path = tmp_path / "written"

    def write(partial, text):
        if writer is whole_files.whole_file:
            partial.write(text)
        else:
            (partial / "text").write_text(text)

    with writer(path) as partial:
        write(partial, "of the first")
        with pytest.raises(whole_files.FolderInUseError, match="written is being written by"):
            with writer(path):
                pass
    assert (path if path.is_file() else path / "text").read_text() == "of the first"
    assert os.listdir(tmp_path) == ["written"]


def test_what_a_killed_writer_left_does_not_get_into_the_folder(tmp_path):
    left = whole_files.partial_path(tmp_path / "folder")
    left.mkdir()
    (left / "half").write_text("a line")
    with whole_files.whole_directory(tmp_path / "folder") as partial:
        (partial / "whole").write_text("all of it")
    assert os.listdir(tmp_path / "folder") == ["whole"]


@pytest.mark.parametrize("left", ["file", "folder", "link"])
def test_what_a_killed_writer_left_of_another_kind_is_no_hindrance(tmp_path, left):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "precious").write_text("kept")
    for name in ("file", "folder"):
        partial = whole_files.partial_path(tmp_path / name)
        if left == "file":
            partial.write_text("half")
        elif left == "folder":
            partial.mkdir()
            (partial / "half").write_text("a line")
        elif name == "folder":
            partial.symlink_to(tmp_path / "kept")
    whole_files.write_text(tmp_path / "file", "whole")
    with whole_files.whole_directory(tmp_path / "folder") as partial:
        (partial / "whole").write_text("all of it")
    assert (tmp_path / "file").read_text() == "whole"
    assert os.listdir(tmp_path / "folder") == ["whole"]
    assert (tmp_path / "kept" / "precious").read_text() == "kept"


def test_a_directory_whose_successor_cannot_be_moved_stays(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(FileNotFoundError):
        whole_files.replace_directory(tmp_path / "old", tmp_path / "missing")
    assert os.listdir(tmp_path) == ["old"]


def test_a_replaced_directory_is_gone_once_the_new_one_stands_there(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    whole_files.replace_directory(tmp_path / "old", tmp_path / "new")
    assert os.listdir(tmp_path) == ["old"] and os.listdir(tmp_path / "old") == ["new"]


def test_a_second_user_of_a_folder_is_refused_by_name_until_the_first_ends(tmp_path):
    folder = tmp_path / "run"
    with hold(folder) as process:
        with pytest.raises(whole_files.FolderInUseError, match=f"in use by process {process.pid}"):
            with whole_files.only_run_in(folder):
                pass
        process.kill()
    # A kill leaves the file but not the lock.
    with whole_files.only_run_in(folder):
        (folder / "result").write_text("x")
    assert os.listdir(folder) == ["result"]


def test_a_folder_made_for_a_run_that_was_refused_is_gone(tmp_path):
    with pytest.raises(ZeroDivisionError), whole_files.only_run_in(tmp_path / "run"):
        raise ZeroDivisionError
    assert not os.listdir(tmp_path)


SIGNALLED = """
import hashlib, signal, sys, time
from albert_tf import stop_signals
if sys.argv[1] == "ignoring":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    with stop_signals.handled():
        if sys.argv[1] == "library":
            print("ready", flush=True)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # half an hour
        if sys.argv[1] == "deferred":
            with stop_signals.deferred():
                print("ready", flush=True)
                while not stop_signals.requested():
                    time.sleep(0.01)
                print("saved", flush=True)
                if len(sys.argv) > 2:
                    time.sleep(60)
                stop_signals.raise_if_requested()
        print("ready", flush=True)
        time.sleep(60)
except stop_signals.Stopped as stopped:
    print(stopped, flush=True)
    sys.exit(stopped.exit_code)
"""


def run_signalled(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", SIGNALLED, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    "number, name, code", [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "SIGINT", 130)]
)
@pytest.mark.parametrize("mode, said", [("at once", ""), ("deferred", "saved\n")])
def test_a_signal_ends_with_its_code(number, name, code, mode, said):
    process = run_signalled(mode)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert (output, process.returncode) == (f"{said}{name}\n", code)


def test_a_signal_that_was_ignored_from_the_start_stays_so():
    process = run_signalled("ignoring")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (143, "SIGTERM\n")


def test_a_second_signal_ends_at_once():
    with run_signalled("deferred", "slow") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "saved\n"
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
        assert time.monotonic() - started < 10


def test_a_second_signal_ends_at_once_where_no_handler_of_python_runs():
    with run_signalled("library") as process:
        time.sleep(0.5)  # from the line to the library's code
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


def stop_and_fail(where):
    with where:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            stop_signals.raise_if_requested()
        except stop_signals.Stopped as stopped:
            stopped.leaves_thread = True
            raise TypeError("not a file") from None


@pytest.mark.parametrize("where", [contextlib.nullcontext(), stop_signals.deferred()])
def test_a_library_that_makes_an_error_of_its_own_of_the_signal_is_stopped_all_the_same(where):
    with pytest.raises(stop_signals.Stopped, match="SIGTERM") as stopped, stop_signals.handled():
        stop_and_fail(where)
    assert stopped.value.leaves_thread and isinstance(stopped.value.__cause__, TypeError)


def test_an_error_beside_a_signal_that_waits_is_told():
    with pytest.raises(ZeroDivisionError), stop_signals.handled(), stop_signals.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ZeroDivisionError


def test_within_another_block_signals_stay_the_outer_ones():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(stop_signals.Stopped), stop_signals.handled():
        with stop_signals.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            with stop_signals.handled():
                assert stop_signals.requested() == signal.SIGTERM
        stop_signals.raise_if_requested()
    assert signal.getsignal(signal.SIGTERM) == before


PARENT = """
import multiprocessing, signal, sys, time
from albert_tf import stop_signals

def wait(connection):
    connection.send("started")
    connection.recv()
    connection.send("alive")

if __name__ == "__main__":
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=wait, args=(theirs,))
    try:
        with stop_signals.handled(), stop_signals.hidden_from_children():
            child.start()
            print(ours.recv(), flush=True)
            for _ in range(1000):
                if stop_signals.requested() or signal.SIGINT in signal.sigpending():
                    break
                time.sleep(0.01)
            print("waited", flush=True)
    except stop_signals.Stopped as stopped:
        ours.send("go on")
        print(ours.recv(), stopped, flush=True)
"""


def test_children_never_see_ctrl_c_and_it_waits_until_they_are_started(tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "started\n"
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (output, errors) == ("waited\nalive SIGINT\n", "")


def test_an_array_is_numpys_file_and_a_full_disk_is_named(tmp_path):
    values = np.arange(3000, dtype=np.int32).reshape(30, 100)
    whole_files.write_array(tmp_path / "ours.npy", values)
    np.save(tmp_path / "theirs.npy", values)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as a disk that fills up
    try:
        with pytest.raises(OSError) as raised:
            whole_files.write_array(tmp_path / "more.npy", values)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.errno == errno.EFBIG
    assert raised.value.filename == str(tmp_path / "more.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours.npy", "theirs.npy"]
