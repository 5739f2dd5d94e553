"""Decoding happens in processes that may die; what kills or stalls one is reported as invalid."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from isthmus.encoders import decoder_pool
from isthmus.encoders.decoder_pool import DecoderPool
from isthmus.encoders.decoder_process import DecodingLimits
from isthmus.encoders.decoding import decode
from isthmus.encoders.image import open_image
from isthmus.errors import InvalidAudio, InvalidImage
from tests.encoders.test_image import saved, scans
from tests.toy import item

PICTURE = Image.effect_noise((90, 70), 80).convert("RGB")


@pytest.fixture
def pool():
    made = []

    def make(processes=1, **limits):
        made.append(DecoderPool(processes, DecodingLimits(**limits)))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def same(image, data):
    return np.array_equal(np.asarray(image), np.asarray(open_image(data)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_is_the_same_as_decoded_here(kind):
    data = saved(PICTURE, kind)
    assert same(decode("image", data), data)


def test_errors_arrive_as_they_are():
    with pytest.raises(InvalidImage, match="the file is PDF"):
        decode("image", b"%PDF-1.7")
    with pytest.raises(InvalidImage, match="0 bytes"):
        decode("image", b"")
    with pytest.raises(InvalidAudio, match="not audio in a known format"):
        decode("audio", b"%PDF-1.7")


def test_many_threads_get_their_own_pictures(pool):
    files = [saved(Image.new("RGB", (20 + n, 10), (n, 0, 0))) for n in range(40)]
    shared = pool(2)
    with ThreadPoolExecutor(8) as threads:
        images = list(threads.map(lambda data: shared.decode("image", data), files))
    assert [image.size for image in images] == [(20 + n, 10) for n in range(40)]
    assert [image.getpixel((0, 0)) for image in images] == [(n, 0, 0) for n in range(40)]
    assert len(shared._idle) <= 2


def test_a_file_that_takes_too_long_ends_its_process_and_no_more(pool):
    one = pool(cpu_seconds=0.1)
    small = saved(PICTURE)
    with pytest.raises(InvalidImage, match=r"takes more than 0\.1 s of processor time"):
        one.decode("image", scans(90, 4_000))
    assert same(one.decode("image", small), small)


def test_a_file_that_takes_too_much_memory_is_refused(pool):
    one = pool(memory_bytes=50 * 2**20)
    huge = saved(Image.new("RGB", (7_000, 7_000)), "PNG")
    with pytest.raises(InvalidImage, match=r"memory|GiB|ended the process"):
        one.decode("image", huge)
    small = saved(PICTURE)
    assert same(one.decode("image", small), small)


def test_a_crash_of_the_decoder_is_an_invalid_image(pool, monkeypatch):
    one = pool()
    with monkeypatch.context() as patch:
        patch.setattr(decoder_pool, "_START", "import os; os.kill(os.getpid(), 11)")
        with pytest.raises(InvalidImage, match=r"ended the process that decoded it \(signal 11\)"):
            one.decode("image", saved(PICTURE))
    assert one.decode("image", saved(PICTURE)).size == PICTURE.size


def test_a_decoder_that_stalls_is_killed(pool, monkeypatch):
    monkeypatch.setattr(decoder_pool, "_START", "import time; time.sleep(60)")
    with pytest.raises(InvalidImage, match=r"took more than 0\.3 s to decode"):
        pool(wall_seconds=0.3).decode("image", saved(PICTURE))


def test_an_idle_process_that_died_is_replaced_and_no_file_blamed(pool):
    one = pool()
    one.decode("image", saved(PICTURE))
    process = one._idle[0]._process
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert one.decode("image", saved(PICTURE)).size == PICTURE.size


def test_an_interrupt_leaves_no_answer_for_the_next_file(pool, monkeypatch):
    one = pool()
    with monkeypatch.context() as patch:
        patch.setattr(decoder_pool._DecoderProcess, "_line", interrupted)
        with pytest.raises(KeyboardInterrupt):
            one.decode("image", saved(PICTURE))
    red = saved(Image.new("RGB", (5, 5), (255, 0, 0)))
    assert one.decode("image", red).getpixel((0, 0)) == (255, 0, 0)


def interrupted(_):
    raise KeyboardInterrupt


def test_a_fork_decodes_with_processes_of_its_own():
    data = saved(PICTURE)
    decode("image", data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        ended = threading.Timer(60, os._exit, (2,))
        ended.start()
        os._exit(0 if same(decode("image", data), data) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert same(decode("image", data), data)


def test_a_batch_goes_on_past_a_picture_that_ends_its_process(space, pool, monkeypatch):
    monkeypatch.setattr(decoder_pool, "_pool", pool(2, cpu_seconds=0.1))
    rows = [
        item(f"i{n}", "sea", image=saved(Image.new("RGB", (9, 9), (n, 9, 9)))) for n in range(6)
    ]
    rows[3]["image"] = scans(90, 4_000)
    report = space.upsert(rows)
    assert (report.added, report.quarantined) == (6, 1)
    (failure,) = space.quarantine()
    assert failure["item_id"] == "i3"
    assert "takes more than 0.1 s of processor time" in failure["reason"]
    assert space.get("i4")["modalities"] == ["text", "image"]


def test_a_large_picture_does_not_stay_in_memory(pool, monkeypatch):
    monkeypatch.setattr(decoder_pool, "KEPT_BYTES", 1_000_000)
    one = pool()
    assert one.decode("image", saved(Image.new("RGB", (600, 400)))).size == (600, 400)
    assert len(one._idle) == 1
    assert one.decode("image", saved(Image.new("RGB", (600, 600)))).size == (600, 600)
    assert len(one._idle) == 0
