"""Where a file that a user named can't be written, it is said before any work."""

from __future__ import annotations

import pytest

from ttgctl.core.account.out_file import OutFileError, check_writable


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere/a.csv", "there is no folder"), ("folder", "is a folder; name a file in it")]
)
def test_a_file_that_cannot_be_there_is_refused(tmp_path, name, said):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutFileError, match=said):
        check_writable(tmp_path / name)


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    # Root, as which tests may run, may write anywhere.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(OutFileError, match="no permission to write in"):
        check_writable(tmp_path / "a.csv")


def test_a_file_that_is_there_may_be_replaced(tmp_path):
    (tmp_path / "a.csv").touch()
    check_writable(tmp_path / "a.csv")
