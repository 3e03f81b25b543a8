"""Walking over maps in blocks of channels."""

import threading

import numpy as np
import pytest

from fluoroscope import blocks


@pytest.mark.parametrize(("size", "lengths"), [(1, [1] * 5), (12, [2, 2, 1]), (30, [5]), (1000, [5])])
def test_every_channel_comes_once_with_scratch_of_its_shape(monkeypatch, size, lengths):
    monkeypatch.setattr(blocks, "BLOCK", size)
    monkeypatch.setattr(blocks, "_kept", blocks._Kept())
    maps = np.arange(30, dtype=np.float32).reshape(5, 2, 3)
    walked = [(part, values.copy(), scratch.shape) for part, values, scratch in blocks.blocks(maps)]
    assert [len(values) for _, values, _ in walked] == lengths
    assert all(shape == values.shape for _, values, shape in walked)
    np.testing.assert_array_equal(np.concatenate([values for _, values, _ in walked]), maps.reshape(5, 6))
    np.testing.assert_array_equal(np.concatenate([maps[part] for part, _, _ in walked]), maps)


def scratch_of(maps):
    return next(blocks.blocks(maps)).scratch


def test_scratch_is_kept_by_each_thread_unless_it_is_large():
    maps = np.zeros((3, 4, 5), np.float32)
    here = scratch_of(maps)
    assert np.shares_memory(here, scratch_of(maps))
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(scratch_of(maps)))
    thread.start()
    thread.join()
    assert not np.shares_memory(here, elsewhere[0])
    large = np.zeros((1, 1, blocks.BLOCK + 1), np.float32)
    assert not np.shares_memory(scratch_of(large), scratch_of(large))
