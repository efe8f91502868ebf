"""Progress: a bar on a terminal, a few log lines elsewhere."""

import io
import logging

import pytest

from albert_tf.pipelines.building import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _log_everything(caplog):
    # absl sets its own logger's level where flags are parsed, which other tests do.
    caplog.set_level(logging.INFO, logger="absl")


def test_without_a_terminal_only_begin_and_end_are_logged(monkeypatch, caplog):
    monkeypatch.setattr(progress.sys, "stderr", io.StringIO())
    with progress.Progress("reading", 4.0) as bar:
        for _ in range(4):
            bar.advance(1.0, 10)
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "reading: 4.0 MB"
    assert messages[1].startswith("reading: done, 40 documents, 4.0 MB in")
    assert len(messages) == 2


def test_a_long_stage_logs_rate_and_time_left(monkeypatch, caplog):
    clock = [0.0]
    monkeypatch.setattr(progress.sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with progress.Progress("reading", 100.0) as bar:
        clock[0] = 20.0
        bar.advance(40.0, 7)
    messages = [record.getMessage() for record in caplog.records]
    assert messages[1] == "reading: 7 documents, 40.0 of 100.0 MB, 2.0 MB/s, 30 s left"


def test_a_short_stage_may_be_quiet_and_a_long_one_counts_in_its_unit(monkeypatch, caplog):
    clock = [0.0]
    monkeypatch.setattr(progress.sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    for seconds in (1.0, 20.0):
        clock[0] = 0.0
        with progress.Progress(
            "evaluating", 4000, "examples", counted="", begins_with_a_line=False
        ) as bar:
            clock[0] = seconds
            bar.advance(1000)
    assert [record.getMessage() for record in caplog.records] == [
        "evaluating: 1,000 of 4,000 examples, 50.0 examples/s, 1 min 00 s left",
        "evaluating: done, 1,000 examples in 20.0 s",
    ]


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress.Progress("reading", 2.0) as bar:
        bar.advance(2.0, 1234)
    assert "reading" in terminal.getvalue() and "1,234 documents" in terminal.getvalue()


def test_an_error_is_not_reported_as_done(monkeypatch, caplog):
    monkeypatch.setattr(progress.sys, "stderr", io.StringIO())
    with pytest.raises(KeyError), progress.Progress("reading", 2.0):
        raise KeyError("stop")
    assert not any("done" in record.getMessage() for record in caplog.records)
