"""Files that cannot be read are named."""

import os

import pytest

from mixit_lightning.errors import UserError
from mixit_lightning.reading import MOST_BYTES, listed, read_json, read_text, read_yaml


@pytest.mark.parametrize("read", [read_text, read_yaml, read_json])
@pytest.mark.parametrize("content", [b"a: [", b"2026-13-45: 1", b'{"a": "\xff"', None])
def test_what_is_none_is_named(tmp_path, read, content):
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    if read is read_text and content and b"\xff" not in content:
        assert read(path) == content.decode()
        return
    with pytest.raises(UserError, match=f"^{path}"):
        read(path)


def test_lines_end_as_in_any_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"


def test_what_has_no_end_or_is_too_large_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    for path in (tmp_path, *tmp_path.iterdir()):
        with pytest.raises(UserError, match=f"^{path}"):
            read_text(path)


@pytest.mark.parametrize("name", ["", "..", "../a", "a/../../b", "/etc/passwd", "a\0b", "x" * 300])
def test_paths_that_lead_out_of_a_folder_are_refused(name):
    with pytest.raises(UserError, match=r"^list, line 1"):
        listed(name, "list, line 1")


def test_other_paths_are_taken():
    assert listed("train/a..b/c.wav", "list") == "train/a..b/c.wav"
