"""Sizes in words, and what is refused before anything is allocated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope import Budget
from fluoroscope.errors import BudgetExceeded, UsageError
from fluoroscope.network.budget import activation_bytes, human_bytes, parse_bytes


def test_what_fits_is_allowed_to_the_last_byte():
    budget = Budget(memory=1000, work=1000)
    budget.allow(1000, "This")
    budget.allow(0, "Nothing")
    budget.allow_work(1000, "This")
    with pytest.raises(BudgetExceeded):
        budget.allow(1001, "That")
    with pytest.raises(BudgetExceeded):
        budget.allow_work(1001, "That")


def test_the_message_says_what_was_given_what_is_possible_and_what_to_do():
    with pytest.raises(BudgetExceeded) as caught:
        Budget(memory=2**30).allow(5 * 2**29, "The weights of dense_1", "Use fewer.")
    assert str(caught.value) == (
        "The weights of dense_1 would take 2.5 GiB; the memory budget is 1 GiB. Nothing was allocated. Use "
        "fewer. If you trust the file, raise the budget: --memory 3G, or budget=Budget(memory=3 * 2**30)."
    )
    assert isinstance(caught.value, MemoryError)
    assert caught.value.exit_code == 5


def test_the_budget_that_the_message_names_is_enough():
    with pytest.raises(BudgetExceeded, match=r"budget=Budget\(work=10\*\*13\)"):
        Budget(work=10**9).allow_work(2_345_678_901_234, "Running it")
    Budget(work=10**13).allow_work(2_345_678_901_234, "Running it")


@given(st.integers(1, 2**60), st.integers(1, 2**60))
def test_memory_named_by_the_message_is_enough(size, memory):
    try:
        Budget(memory=memory).allow(size, "This")
    except BudgetExceeded as error:
        assert size > memory
        gibibytes = int(str(error).split("--memory ")[1].split("G")[0])
        Budget(memory=gibibytes * 2**30).allow(size, "This")
    else:
        assert size <= memory


@pytest.mark.parametrize("wrong", [{"memory": 0}, {"memory": -1}, {"work": 0}])
def test_a_budget_is_positive(wrong):
    with pytest.raises(UsageError, match="is a positive number"):
        Budget(**wrong)


@pytest.mark.parametrize(
    ("shape", "batch", "size"),
    [((3, 4, 5), 1, 240), ((3, 4, 5), 2, 480), ((None, 4, 5), 1, 80), ((), 3, 12), ((0, 7), 1, 0)],
)
def test_activation_bytes(shape, batch, size):
    assert activation_bytes(shape, batch) == size


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (5 * 2**20, "5 MiB"),
        (2**31, "2 GiB"),
        (3 * 2**40, "3 TiB"),
        (1000 * 2**10, "1000 KiB"),
        (2**70, "1048576 PiB"),
    ],
)
def test_human_bytes(size, words):
    assert human_bytes(size) == words


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2G", 2**31),
        ("500 MB", 500 * 2**20),
        ("1.5GiB", 3 * 2**29),
        ("1024", 1024),
        (" 7 k ", 7168),
        ("2 tb", 2**41),
        ("64b", 64),
    ],
)
def test_parse_bytes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "2X", "1,5G", "0", "0.0G", "1e9", "2 G B", "nan", "0.1"])
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match="A size is a number"):
        parse_bytes(text)


@given(st.integers(1, 1023), st.sampled_from(["K", "M", "G", "T"]))
def test_words_are_read_back(number, unit):
    size = parse_bytes(f"{number}{unit}")
    assert parse_bytes(human_bytes(size)) == size
