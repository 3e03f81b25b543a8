from __future__ import annotations

import math

import numpy as np
import pytest

from drawn_reports import layer
from fluoroscope.output.predictions import read_prediction


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def read(numbers, activation=None, classes=(), kind="Dense"):
    return read_prediction(layer("out", (len(numbers),), kind, activation), values(*numbers), classes)


def test_a_softmax_is_probabilities_of_which_one_holds():
    prediction = read([0.25, 0.75], "softmax", ("cat", "dog"))
    assert prediction.meaning == "exclusive"
    assert prediction.named
    assert prediction.top(5) == [("dog", 0.75), ("cat", 0.25)]


def test_values_that_sum_to_one_are_probabilities_whatever_made_them():
    assert read([0.25, 0.75]).meaning == "exclusive"
    assert read([0.25, 0.75], kind="Softmax").meaning == "exclusive"
    assert read([0.25, 0.7]).meaning == "numbers"


def test_sigmoids_are_probabilities_each_for_itself():
    prediction = read([0.5, 0.75], "sigmoid")
    assert prediction.meaning == "independent"
    assert prediction.labels == ("class 0", "class 1")


@pytest.mark.parametrize(
    ("classes", "labels"), [(("ill",), ("not ill", "ill")), (("healthy", "ill"), ("healthy", "ill"))]
)
def test_a_named_sigmoid_is_a_class_and_its_opposite(classes, labels):
    prediction = read([0.75], "sigmoid", classes)
    assert prediction.meaning == "exclusive"
    assert prediction.labels == labels
    assert prediction.values.tolist() == [0.25, 0.75]


def test_an_unnamed_sigmoid_is_one_probability():
    prediction = read([0.75], "sigmoid")
    assert (prediction.meaning, prediction.labels, prediction.named) == (
        "independent",
        ("probability",),
        False,
    )


@pytest.mark.parametrize(
    ("numbers", "activation"),
    [([1.5], "sigmoid"), ([0.5], None), ([-0.1, 1.1], "softmax"), ([3.0, -2.0], None)],
)
def test_other_values_are_numbers(numbers, activation):
    assert read(numbers, activation).meaning == "numbers"


def test_a_single_number_is_not_split_in_two():
    prediction = read([2.5], None, ("age",))
    assert prediction.top(3) == [("age", 2.5)]


def test_names_of_another_output_are_not_used():
    assert read([0.2, 0.8], "softmax", ("a", "b", "c")).labels == ("class 0", "class 1")


def test_what_is_not_a_number_comes_last():
    prediction = read([math.nan, -math.inf, 1.0, math.inf])
    assert [label for label, _ in prediction.top(4)] == ["value 3", "value 2", "value 0", "value 1"]


def test_equal_values_stay_in_order():
    assert [label for label, _ in read([1.0, 2.0, 2.0, 2.0]).top(2)] == ["value 1", "value 2"]
