"""An open archive is read by many processes at once."""

import multiprocessing
import zipfile
from pathlib import Path

import pytest

from puna.data.archive import Archive


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="nothing is forked here")
def test_processes_that_were_forked_read_what_each_asked_for(tmp_path: Path) -> None:
    texts = {f"{number}.txt": str(number).encode() * 2000 for number in range(40)}
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as made:
        for name, text in texts.items():
            made.writestr(name, text)
    archive = Archive(tmp_path / "many.zip")
    assert sorted(archive.names) == sorted(texts) and archive.read("7.txt") == texts["7.txt"]
    forked = multiprocessing.get_context("fork")
    wrong = forked.Queue()

    def read() -> None:
        found = 0
        for name in list(texts) * 30:
            try:
                found += archive.read(name) != texts[name]
            except (zipfile.BadZipFile, OSError):
                found += 1
        wrong.put(found)

    workers = [forked.Process(target=read) for _ in range(4)]
    for worker in workers:
        worker.start()
    assert [wrong.get(timeout=60) for _ in workers] == [0] * 4
    for worker in workers:
        worker.join()
