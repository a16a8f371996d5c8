from __future__ import annotations

from pathlib import Path

import pytest

from spare_assets.storage.durability import write_whole


def test_a_file_is_written_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_whole(path, b"old")
    with path.open("rb") as reader:
        write_whole(path, b"")
        assert reader.read() == b"old", "whoever reads keeps the file that was opened"
    assert path.read_bytes() == b""
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "page.html"
    write_whole(path, b"old")
    write = Path.write_bytes

    def full(self: Path, content: object) -> int:
        if failing == "write_bytes":
            write(self, b"ne")
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, failing, full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    synced: list[bytes] = []
    monkeypatch.setattr("spare_assets.storage.durability.sync", lambda file: synced.append(file.read_bytes()))
    replace = Path.replace

    def checked(self: Path, target: Path) -> Path:
        assert synced == [b"new"]
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", checked)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
