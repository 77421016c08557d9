"""Local copies of shards: fetched once, named when damaged, removed for others, shared by processes."""

import multiprocessing
import os
import shutil
import time

import pytest

from mixit_lightning.errors import UserError
from mixit_lightning.streaming.cache import Cache
from mixit_lightning.streaming.catalogue import read_catalogue
from mixit_lightning.streaming.storage import Storage


@pytest.fixture
def remote(packed, tmp_path):
    """The shards behind a file system that counts as object storage."""
    return shutil.copytree(packed, tmp_path / "remote")


@pytest.fixture
def storage(remote):
    return Storage(f"fsspec+file://{remote}")


@pytest.fixture
def shards(storage):
    return read_catalogue(storage).shards


@pytest.fixture
def cache(storage, tmp_path):
    return Cache(storage, tmp_path / "cache", 1.0)


def copies(cache):
    return {path.name for path in cache.folder.glob("*") if path.is_file()}


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_shard_is_fetched_once(cache, remote, shards, packed):
    path = cache.copy(shards[0])
    assert path.read_bytes() == (packed / shards[0].name).read_bytes()
    (remote / shards[0].name).unlink()
    again = Cache(cache.storage, cache.folder, 1.0)
    assert again.copy(shards[0]) == path and copies(cache) == {path.name}
    again.open(shards[0], 8000).crop(0, 0.5, 100)


def test_a_folder_is_read_in_place(packed, shards, tmp_path):
    local = Cache(Storage(str(packed)), tmp_path / "cache", 1.0)
    assert local.open(shards[0], 8000).path == packed / shards[0].name
    local.look_ahead(shards)
    assert not local.folder.exists()


def test_a_shard_that_cannot_be_fetched_is_named_and_leaves_nothing(cache, remote, shards):
    (remote / shards[0].name).unlink()
    with pytest.raises(UserError, match=shards[0].name):
        cache.copy(shards[0])
    assert copies(cache) == set()


def test_a_shard_that_was_cut_off_is_named_and_fetched_again_once_it_is_removed(cache, remote, shards, packed):
    whole = (remote / shards[0].name).read_bytes()
    (remote / shards[0].name).write_bytes(whole[:-100])
    with pytest.raises(UserError, match=f"{shards[0].plan}.parquet: .* remove the file"):
        cache.open(shards[0], 8000)
    (remote / shards[0].name).write_bytes(whole)
    (cache.folder / f"{shards[0].plan}.parquet").unlink()
    cache.open(shards[0], 8000)


def test_copies_that_were_used_the_longest_time_ago_make_room(cache, shards):
    cache.limit = sum(shard.bytes for shard in shards[:3])
    paths = [cache.copy(shard) for shard in shards[:3]]
    left = cache.folder / "killed.parquet.partial"
    left.write_bytes(bytes(10))
    for path, seconds in zip([left, *paths], (4000, 1000, 3000, 2000), strict=True):
        age(path, seconds)
    cache.copy(shards[1])  # counts as used again
    paths.append(cache.copy(shards[3]))
    gone = {paths[2].name, left.name}
    expected = {path.name for path in paths} - gone
    if sum(shards[number].bytes for number in (0, 1, 3)) > cache.limit:
        expected -= {paths[0].name}
    assert copies(cache) == expected


def test_copies_that_were_just_used_stay(cache, shards):
    cache.limit = 0
    assert len({cache.copy(shard) for shard in shards}) == len(copies(cache)) == len(shards)


def test_shards_are_fetched_ahead_and_failures_are_left_to_whoever_opens_them(cache, remote, shards, capfd):
    (remote / shards[1].name).unlink()
    cache.look_ahead(shards[:4])
    wanted = {f"{shards[number].plan}.parquet" for number in (0, 2, 3)}
    deadline = time.monotonic() + 20
    while copies(cache) != wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    assert copies(cache) == wanted and capfd.readouterr().err == ""


def fetch_slowly(cache, shard, log, started=None, seconds=0.3):
    """Copy a shard in a process of its own; writes a line where it is really fetched."""
    fetch = cache.storage.fetch

    def slow(name, target):
        with log.open("a") as lines:
            lines.write(f"{name}\n")
        if started:
            started.set()
        time.sleep(seconds)
        fetch(name, target)

    cache.storage.fetch = slow
    cache.copy(shard)


def test_processes_fetch_a_shard_once(cache, shards, tmp_path):
    context = multiprocessing.get_context("fork")
    arguments = (cache, shards[0], tmp_path / "log")
    processes = [context.Process(target=fetch_slowly, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "log").read_text().split() == [shards[0].name]


def test_a_process_that_was_killed_keeps_nobody_out(cache, shards, tmp_path):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=fetch_slowly, args=(cache, shards[0], tmp_path / "log", started, 60))
    process.start()
    assert started.wait(20)
    process.kill()
    process.join()
    assert cache.copy(shards[0]).stat().st_size == shards[0].bytes
