"""Files replaced as a whole: modes, links, threads, and temporary files that nobody can foresee."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sb3_nbsp.base.atomic_write import replacing


def write(path: Path, text: str = "new") -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_an_existing_files_mode_is_kept(tmp_path, mode):
    path = tmp_path / "file.json"
    path.write_text("old")
    path.chmod(mode)
    write(path)
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_usual_mode(tmp_path, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "file.json")
        (tmp_path / "usual").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "file.json").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_while_it_is_written_nobody_else_can_read_it(tmp_path):
    with replacing(tmp_path / "file.json") as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o600 and temporary.suffix == ".json"
        temporary.write_text("new")


def test_a_symlink_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    write(link)
    assert link.is_symlink() and target.read_text() == "new"
    assert os.listdir(tmp_path / "elsewhere") == ["target.json"] and sorted(os.listdir(tmp_path)) == ["elsewhere", "link.json"]
    dangling = tmp_path / "dangling.json"
    dangling.symlink_to(tmp_path / "later" / "x.json")
    write(dangling)
    assert dangling.is_symlink() and (tmp_path / "later" / "x.json").read_text() == "new"


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    """Whoever knew the temporary name could have the file written elsewhere."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    names = iter(["planted", "free"])
    monkeypatch.setattr("sb3_nbsp.base.atomic_write.secrets.token_hex", lambda _n: next(names))
    (tmp_path / ".file.planted.tmp.json").symlink_to(victim)
    write(tmp_path / "file.json")
    assert victim.read_text() == "precious" and (tmp_path / "file.json").read_text() == "new"


def test_names_differ_from_call_to_call(tmp_path):
    with replacing(tmp_path / "file.json") as one, replacing(tmp_path / "file.json") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "file.json").read_text() == "one"  # it ends last


def test_threads_write_one_file(tmp_path):
    path, failures, done = tmp_path / "file.txt", [], threading.Event()
    texts = [letter * 50_000 for letter in "abcd"]

    def writing(text):
        try:
            for _ in range(20):
                write(path, text)
        except Exception as error:
            failures.append(error)

    def reading():
        while not done.is_set():
            if path.exists() and path.read_text() not in texts:
                failures.append("a part")

    reader = threading.Thread(target=reading)
    writers = [threading.Thread(target=writing, args=(text,)) for text in texts]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert not failures and os.listdir(tmp_path) == ["file.txt"]


def test_processes_write_one_file(tmp_path):
    code = "import sys; from sb3_nbsp.base.atomic_write import replacing\n"
    code += "for _ in range(20):\n with replacing(sys.argv[1]) as t: t.write_text(sys.argv[2] * 10_000)"
    running = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "file", letter]) for letter in "ab"]
    assert [process.wait() for process in running] == [0, 0]
    assert os.listdir(tmp_path) == ["file"] and len(set((tmp_path / "file").read_text())) == 1


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.json"
    path.write_text("old")
    with pytest.raises(type(error)), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file.json"]


def test_file_and_folder_reach_the_disk_before_and_after_the_renaming(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda file: (order.append("folder" if os.path.isdir(f"/proc/self/fd/{file}") else "file"), fsync(file))
    )
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("replace"), replace(*paths)))
    write(tmp_path / "file.json")
    assert order == ["file", "replace", "folder"]


@pytest.mark.parametrize("name", ["x" * 250 + ".json", "ü" * 120 + ".json", "no-suffix", ".hidden"])
def test_names_of_any_kind(tmp_path, name):
    write(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
