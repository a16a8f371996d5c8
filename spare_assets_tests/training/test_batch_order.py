"""Order of rows: what every process and every resumed run must agree on."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spare_assets.training.batch_order import BATCHES_SORTED_TOGETHER, BatchOrder, epoch_order, steps_per_epoch

LENGTHS = arrays(np.int32, st.integers(0, 700), elements=st.integers(1, 4096))
EPOCHS = st.integers(0, 5)
SEEDS = st.integers(-(2**31), 2**31)


@given(LENGTHS, st.integers(1, 70), SEEDS, EPOCHS)
def test_an_epoch_is_whole_batches_of_different_rows(lengths: np.ndarray, size: int, seed: int, epoch: int) -> None:
    order = epoch_order(lengths, size, seed, epoch)
    assert order.dtype == np.int64
    assert len(set(order.tolist())) == len(order)
    assert not len(order) or (order.min() >= 0 and order.max() < len(lengths))
    assert len(order) == steps_per_epoch(len(lengths), size) * min(size, len(lengths))
    assert len(lengths) - len(order) < size


@given(LENGTHS, st.integers(1, 70), SEEDS, EPOCHS)
def test_order_follows_from_its_arguments_alone(lengths: np.ndarray, size: int, seed: int, epoch: int) -> None:
    before = lengths.copy()
    first = epoch_order(lengths, size, seed, epoch)
    np.random.seed(1)
    assert np.array_equal(first, epoch_order(lengths.copy(), size, seed, epoch))
    assert np.array_equal(lengths, before)


@given(LENGTHS, st.integers(1, 70), SEEDS, EPOCHS)
def test_rows_within_a_batch_stand_by_length(lengths: np.ndarray, size: int, seed: int, epoch: int) -> None:
    batches = lengths[epoch_order(lengths, size, seed, epoch)].reshape(-1, min(size, len(lengths)) or 1)
    assert (np.diff(batches.astype(np.int64), axis=1) >= 0).all()


@given(LENGTHS.filter(len), st.integers(1, 70), SEEDS)
def test_the_longest_row_of_the_first_epoch_comes_in_its_first_batch(lengths: np.ndarray, size: int, seed: int) -> None:
    order = epoch_order(lengths, size, seed, 0)
    assert lengths[order[:size]].max() == lengths[order].max()


def test_grouping_by_length_saves_padding() -> None:
    lengths = np.random.default_rng(0).integers(50, 1000, 20_000).astype(np.int32)
    size = 16

    def padding(order: np.ndarray) -> float:
        batches = lengths[order].reshape(-1, size)
        return float((batches.max(axis=1, keepdims=True) - batches).mean())

    assert padding(epoch_order(lengths, size, 0, 1)) < 0.1 * padding(np.arange(20_000))


def test_epochs_and_seeds_differ_in_order_company_and_leftovers() -> None:
    lengths = np.full(4 * BATCHES_SORTED_TOGETHER * 8 + 7, 100, dtype=np.int32)
    orders = [epoch_order(lengths, 8, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    company = [{frozenset(batch) for batch in order.reshape(-1, 8).tolist()} for order in orders]
    leftovers = [set(range(len(lengths))) - set(order.tolist()) for order in orders]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not company[first] & company[second]
        assert leftovers[first] != leftovers[second]


def test_batches_are_not_trained_on_by_length() -> None:
    lengths = np.random.default_rng(0).integers(50, 1000, 3200).astype(np.int32)
    means = lengths[epoch_order(lengths, 64, 0, 1)].reshape(-1, 64).mean(axis=1)
    assert (np.diff(means) > 0).any()
    assert (np.diff(means) < 0).any()


def test_fewer_rows_than_a_batch_make_one_batch() -> None:
    assert sorted(epoch_order(np.array([5, 3, 4]), 64, 0, 0).tolist()) == [0, 1, 2]
    assert (steps_per_epoch(3, 64), steps_per_epoch(0, 64), steps_per_epoch(64, 64), steps_per_epoch(129, 64)) == (
        1,
        0,
        1,
        2,
    )


def test_as_a_sampler_every_process_sees_the_same_effective_batches() -> None:
    from accelerate.data_loader import BatchSamplerShard  # type: ignore[import-untyped]
    from torch.utils.data import BatchSampler, DataLoader

    lengths = np.random.default_rng(0).integers(50, 1000, 100).astype(np.int32)
    order = BatchOrder(lengths, 8, seed=3)
    order.set_epoch(2)
    expected = epoch_order(lengths, 8, 3, 2).tolist()
    loader: DataLoader[int] = DataLoader(list(range(100)), batch_size=4, sampler=order)  # type: ignore[arg-type]
    assert [int(index) for batch in loader for index in batch] == expected
    assert len(order) == len(expected) == 96
    of_ranks = [
        list(BatchSamplerShard(BatchSampler(order, 2, drop_last=True), num_processes=2, process_index=rank))
        for rank in (0, 1)
    ]
    for step in range(12):
        seen = [index for rank in of_ranks for batch in rank[2 * step : 2 * step + 2] for index in batch]
        assert sorted(seen) == sorted(expected[8 * step : 8 * step + 8])
