"""Shards at hand: fetched once, compared, waited for, evicted; whatever is wrong is said, and nothing hangs."""

import multiprocessing
import os
import shutil
import time

import pytest

from mixit_lightning.errors import UserError
from mixit_lightning.streaming import cache as caches
from mixit_lightning.streaming import storage as storages
from mixit_lightning.streaming.cache import Cache
from mixit_lightning.streaming.catalogue import read_catalogue
from mixit_lightning.streaming.storage import Storage

from .remote import Remote


@pytest.fixture
def shards(packed):
    return read_catalogue(Storage(str(packed), 0), 64).shards


@pytest.fixture
def remote(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(storages, "PAUSES", (0.01, 0.02))
    return Remote(shutil.copytree(packed, tmp_path / "remote"))


@pytest.fixture
def cache(remote, tmp_path):
    return Cache(remote, tmp_path / "cache", 1.0)


def spoil(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def kept(cache):
    return sorted(path.name for path in cache.folder.glob("*.parquet"))


def test_a_shard_is_fetched_once_and_is_whole(cache, remote, shards, packed):
    for _ in range(2):
        assert cache.path(shards[0]).read_bytes() == (packed / shards[0].name).read_bytes()
    assert remote.read_names == [shards[0].name]
    assert Cache(remote, cache.folder, 1.0).path(shards[0]) and len(remote.read_names) == 1
    assert not list(cache.folder.rglob("*.partial"))


def test_the_network_is_waited_for_and_that_is_said_once(cache, remote, shards, capsys):
    remote.failures = 5
    cache.path(shards[0])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("s3://bucket/place: cannot be reached, trying again for up to 5 s (AWS Error NETWORK")
    assert lines[1].startswith("s3://bucket/place: there again after ")


def test_a_connection_that_drops_in_the_middle_leaves_nothing(cache, remote, shards, capsys):
    remote.patience, remote.cut_at = 0.1, 1000
    with pytest.raises(UserError, match=r"cannot be reached for \d s .*resume.*patience"):
        cache.path(shards[0])
    assert kept(cache) == [] and not list(cache.folder.rglob("*.partial"))
    remote.cut_at = None
    assert cache.path(shards[0]).stat().st_size == shards[0].bytes


def test_patience_ends(cache, remote, shards):
    remote.patience, remote.failures = 0.3, 10**6
    start = time.monotonic()
    with pytest.raises(UserError, match="cannot be reached"):
        cache.path(shards[0])
    assert 0.3 <= time.monotonic() - start < 3


@pytest.mark.parametrize("word", ["ACCESS_DENIED", "SIGNATURE_DOES_NOT_MATCH"])
def test_what_waiting_would_not_change_is_said_at_once(remote, word):
    remote.patience = 1000

    def refuse():
        raise OSError(f"AWS Error {word} during HeadObject operation: No response body.")

    with pytest.raises(UserError, match=r"is refused .* look at its keys"):
        remote.patiently(refuse)


def test_a_damaged_shard_is_fetched_again_then_named(cache, remote, shards):
    spoil(remote.folder / shards[0].name)
    with pytest.raises(UserError, match=rf"{shards[0].name}: is damaged, its SHA-256 .* `mixit shard` again") as caught:
        cache.path(shards[0])
    assert shards[0].sha256[:12] in str(caught.value)
    assert remote.read_names == [shards[0].name] * 2 and kept(cache) == []


def test_a_shard_that_is_longer_than_it_should_be_does_not_fill_the_disk(cache, remote, shards):
    with (remote.folder / shards[0].name).open("ab") as file:
        file.truncate(10**9)
    sizes = []
    digest = remote.digest

    def spy(name, most, target):
        found = digest(name, most, target)
        sizes.append(target.stat().st_size)
        return found

    remote.digest = spy
    with pytest.raises(UserError, match="is damaged"):
        cache.path(shards[0])
    assert set(sizes) == {shards[0].bytes + 1}


def test_a_missing_shard_is_named(cache, remote, shards):
    (remote.folder / shards[0].name).unlink()
    with pytest.raises(UserError, match=rf"{shards[0].name}: missing, though the catalogue has it"):
        cache.path(shards[0])


def test_a_folder_is_read_in_place_and_compared(packed, shards, tmp_path):
    folder = shutil.copytree(packed, tmp_path / "shards")
    local = Cache(Storage(str(folder), 0), tmp_path / "cache", 1.0)
    assert local.path(shards[0]) == folder / shards[0].name and not local.folder.exists()
    (folder / shards[2].name).unlink()
    os.mkfifo(folder / shards[2].name)
    with pytest.raises(UserError, match=rf"{shards[2].name}: cannot be read \(no regular file\)"):
        local.path(shards[2])
    spoil(folder / shards[1].name)
    with pytest.raises(UserError, match="is damaged"):
        local.path(shards[1])


def test_a_shard_that_was_damaged_on_this_machine_is_fetched_anew(cache, remote, shards, packed):
    spoil(cache.path(shards[0]))
    assert Cache(remote, cache.folder, 1.0).path(shards[0]).read_bytes() == (packed / shards[0].name).read_bytes()
    assert len(remote.read_names) == 2


def test_a_shard_is_compared_once_in_a_process(cache, remote, shards, monkeypatch):
    cache.path(shards[0])
    again = Cache(remote, cache.folder, 1.0)
    again.path(shards[0])
    monkeypatch.setattr(caches, "hashlib", None)
    for one in (cache, again):
        one.path(shards[0])
    assert len(remote.read_names) == 1


@pytest.mark.parametrize("removals", [1, 2])
def test_a_shard_that_another_process_removes_is_fetched_again(cache, remote, shards, monkeypatch, removals):
    removing(cache, monkeypatch, removals)
    cache.open(shards[0], 8000).crop(0, 0.5, 100)
    assert len(remote.read_names) == removals + 1


def test_not_for_ever(cache, remote, shards, monkeypatch):
    removing(cache, monkeypatch, 1000)
    with pytest.raises(UserError, match="cannot be read as a shard"):
        cache.open(shards[0], 8000)
    assert len(remote.read_names) == 3


def removing(cache, monkeypatch, times):
    """Remove shards as soon as the cache has said where they are."""
    path, left = cache.path, [None] * times

    def spy(shard):
        found = path(shard)
        if left:
            left.pop()
            found.unlink()
        return found

    monkeypatch.setattr(cache, "path", spy)


def test_what_killed_processes_left_is_removed_after_a_day(cache, shards):
    cache.folder.mkdir()
    old, new = (cache.folder / f"{letter * 64}.parquet.partial" for letter in "ab")
    for path in (old, new):
        path.write_bytes(bytes(100))
    os.utime(old, (0, time.time() - 90_000))
    cache.path(shards[0])
    assert not old.exists() and new.exists()


def test_the_least_recently_used_make_room_but_never_those_that_are_needed(cache, shards):
    cache.limit = sum(shard.bytes for shard in shards[:3])
    for shard in shards[:3]:
        cache.path(shard)
        time.sleep(0.01)
    cache.path(shards[0])
    cache.needed = [shards[1]]
    cache.path(shards[3])
    names = {cache.target(shard).name for shard in (shards[1], shards[3])}
    assert names <= set(kept(cache)) and cache.target(shards[2]).name not in kept(cache)


def test_what_is_needed_next_is_fetched_ahead(cache, shards):
    cache.look_ahead(shards[:4])
    cache.thread.join(10)
    assert len(kept(cache)) == 4


def test_failures_ahead_are_silent(cache, remote, shards, capsys):
    remote.failures = 2
    cache.look_ahead(shards[:4])
    cache.thread.join(10)
    assert len(kept(cache)) == 2 and capsys.readouterr().err == ""


def test_processes_fetch_a_shard_once(cache, remote, shards):
    remote.log = remote.folder.parent / "log"
    reading = remote.reading

    def slow(name):
        with remote.log.open("a") as log:
            log.write(f"{name}\n")
        time.sleep(0.3)
        return reading(name)

    remote.reading = slow
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=cache.path, args=(shards[0],)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0] * 4
    assert remote.log.read_text().split() == [shards[0].name]


def test_a_process_that_was_killed_keeps_nobody_out(cache, remote, shards):
    started = multiprocessing.get_context("fork").Event()
    reading = remote.reading

    def stuck(name):
        started.set()
        time.sleep(60)

    remote.reading = stuck
    process = multiprocessing.get_context("fork").Process(target=cache.path, args=(shards[0],))
    process.start()
    assert started.wait(20)
    os.kill(process.pid, 9)
    process.join()
    remote.reading = reading
    assert cache.path(shards[0]).stat().st_size == shards[0].bytes


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk, for which it must be root")
def test_a_full_disk_is_said(cache, remote, shards, tmp_path):
    disk = tmp_path / "cache"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=64k tmpfs {disk}"):
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); make room"):
            cache.path(shards[0])
        assert kept(cache) == [] and not list(disk.rglob("*.partial"))
    finally:
        os.system(f"umount {disk}")
