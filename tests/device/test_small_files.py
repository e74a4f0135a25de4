"""What other programs put into small files, and where a person says they are."""

import os
import stat
from pathlib import Path

import pytest
from idletune.commands.cli import main
from idletune.commands.options import options_of
from idletune.commands.parser import make_parser
from idletune.errors import DamagedDataError, UsageError
from idletune.runtime import Runtime, default_home
from idletune.settings import Settings
from idletune.small_files import read_json_object, read_text, user_path, write_whole
from idletune.state.keyring import read_key


def test_marks_are_no_part_of_a_text(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('\ufeff{"a": 1}', "utf-8")
    assert read_json_object(path, "a thing", "mend it") == {"a": 1}
    path.write_text("\ufeffone\n\ufefftwo \ufeff three", "utf-8")
    assert read_text(path) == "one\ntwo \ufeff three"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe{\0}\0", b"[" * 100_000, b'{"a": ' + b"1" * 5000])
def test_what_is_no_json_object_is_refused_in_words(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DamagedDataError, match=f"{path} is not "):
        read_json_object(path, "a thing", "mend it")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DamagedDataError, match="no regular file"):
        read_json_object(tmp_path / "pipe", "a thing", "mend it")


def test_a_key_file_may_have_a_mark_and_an_end_of_line(tmp_path):
    path = tmp_path / "key"
    path.write_text("\ufeff" + "ab" * 32 + "\r\n", "utf-8")
    path.chmod(0o600)
    assert read_key(path) == b"\xab" * 32


def test_a_file_is_written_whole_and_for_its_owner(tmp_path):
    (tmp_path / "a.json").write_text("before")
    write_whole(tmp_path / "a.json", b"after")
    assert (tmp_path / "a.json").read_text() == "after" and stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_home_folders_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IDLETUNE_HOME", "~/.idletune")
    assert default_home() == tmp_path / ".idletune" and user_path("a/~") == Path("a/~")
    (tmp_path / "k").write_bytes(b"k" * 32)
    (tmp_path / "k").chmod(0o600)
    assert read_key("~/k") == b"k" * 32


def test_nobody_knows_the_home_folder(monkeypatch, capsys):
    monkeypatch.delenv("IDLETUNE_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, and no entry in the password file
    with pytest.raises(UsageError, match="no home folder is known for ~"):
        default_home()
    assert main(["ask"]) == 2 and main(["ask", "--home", "~/x"]) == 2
    assert capsys.readouterr().err.count("give a full path") == 2


def test_a_folder_whose_name_is_not_utf_8(tmp_path, tiny_path, home):
    folder = tmp_path / os.fsdecode(b"mod\xe8les")
    folder.mkdir()
    os.link(tiny_path, folder / "tiny.gguf")
    with Runtime(folder / "home", folder / "tiny.gguf", Settings(threads=1), sequences=2) as runtime:
        assert runtime.model.embed_exchange("a", "b", "").reply.shape[1] == 64
        assert runtime.trainer_loss([runtime.model.encode_text("bread")], None) > 0


def test_jobs_of_the_night_name_the_link_they_were_given(tmp_path, tiny_path, monkeypatch):
    """What belongs to the model lies beside the link, as in Hugging Face's cache."""
    link = tmp_path / "snapshots" / "base.gguf"
    link.parent.mkdir()
    link.symlink_to(tiny_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    options = options_of(make_parser().parse_args(["termux", "install", "--model", str(link), "--key-file", "~/k"]))
    assert options[1] == str(link) and options[-1] == f"key_file={Path.home() / 'k'}"


def test_an_unfinished_file_that_another_process_removes_is_written_again(tmp_path, monkeypatch):
    replace, removed = os.replace, []

    def replace_after_removal(partial, path):
        if not removed:
            removed.append(partial)
            os.unlink(partial)
        replace(partial, path)

    monkeypatch.setattr(os, "replace", replace_after_removal)
    write_whole(tmp_path / "checkpoint", b"all of it")
    assert removed and (tmp_path / "checkpoint").read_bytes() == b"all of it"
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "checkpoint", b"all of it")
