"""JSON of unknown origin is an object, or a sentence that names the file and what is there."""

import json
import os

import pytest

from albert_tf import json_files


def write(folder, content):
    path = folder / "values.json"
    path.write_bytes(content)
    return path


def test_object_is_read_with_and_without_a_byte_order_mark(tmp_path):
    for content in (b'{"a": 1}', b'\xef\xbb\xbf{"a": 1}'):
        assert json_files.read_object(write(tmp_path, content), {"a": int}) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "must be a JSON object. Received: Expecting value"),
        (b'{"a": 1', "must be a JSON object. Received: Expecting"),
        (b"[]", r"must be a JSON object. Received: \[\]"),
        (b'"' + b"x" * 400_000 + b'"', "must be a JSON object. Received: 'xxx"),
        (b"[" * 200_000, "must be a JSON object. Received: one nested too deeply"),
        (b'{"a": ' * 500 + b"1" + b"}" * 500, "Received: one nested too deeply"),
        (b"1" * 5000, "must be a JSON object. Received: Exceeds the limit"),
        (b'{"a": "\xe9"}', "must be JSON in UTF-8. Received: invalid continuation byte at byte 7"),
        (b'{"b": 1}', "must have `a`, a whole number. Received: the keys 'b'"),
        (b'{"a": [[[]]]}', r"must have `a`, a whole number. Received: \[\[\[\]\]\]"),
        (b" " * 2_000 + b"{}", "must have at most 1,000 bytes. Received: 2,002"),
    ],
)
def test_whatever_else_is_there_is_one_short_sentence_with_the_file(tmp_path, content, problem):
    path = write(tmp_path, content)
    limit = 1_000 if b"  " in content else json_files.LARGEST_BYTES
    with pytest.raises(json_files.JsonError, match=problem) as caught:
        json_files.read_object(path, {"a": int}, largest_bytes=limit)
    assert str(caught.value).startswith(f"{path} must")
    assert len(str(caught.value)) < len(str(path)) + 400


def test_what_is_no_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, there in (("pipe", "no file"), ("loop", "no file"), ("", "a folder")):
        with pytest.raises(json_files.JsonError, match=f"must be a JSON file. Received: {there}"):
            json_files.read_object(tmp_path / name)


def test_lines_are_named_and_a_last_one_without_an_end_is_left_out(tmp_path):
    path = write(tmp_path, b'{"a": 1}\n{"a": 2}\n{"a": ')
    assert json_files.read_objects(path, {"a": int}) == [{"a": 1}, {"a": 2}]
    path = write(tmp_path, b'{"a": 1}\n[]\n')
    with pytest.raises(json_files.JsonError, match=r"values\.json, line 2: must be a JSON object"):
        json_files.read_objects(path)
    path = write(tmp_path, b'{"a": 1}\n{"b": 1}\n')
    with pytest.raises(json_files.JsonError, match=r"values\.json, line 2: must have `a`"):
        json_files.read_objects(path, {"a": int})


def test_message_shows_the_beginning_of_what_came():
    assert json_files.shorten("short") == "'short'"
    assert len(json_files.shorten({f"key{i}": "x" * 1000 for i in range(1000)})) <= 203
    assert json_files.listed(["a", "b"]) == "'a', 'b'"
    assert json_files.listed(map(str, range(12))).endswith("'9' and 2 more")
    assert json_files.listed([]) == "none"
    assert json.loads("{}") == json_files.parse_object("{}")


def test_half_a_character_is_replaced_and_a_whole_one_is_not():
    values = json_files.parse_object(r'{"a": ["x \ud83d", "\ud83d\ude00"], "\uDE00": 1}')
    assert json_files.parse_object(rb'{"a": "x \ud83d"}') == {"a": "x \ufffd"}
    assert values == {"a": ["x \ufffd", "\U0001f600"], "\ufffd": 1}
