"""How long something took, as a person would say it."""

import pytest

from albert_tf import durations


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (750, "12 min 30 s"), (7500, "2 h 05 min")]
)
def test_durations_are_readable(seconds, text):
    assert durations.format_duration(seconds) == text
