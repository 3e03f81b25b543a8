"""Which layers are meant: every form of the grammar, by hand and as properties."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.errors import FluoroscopeError, LayerNotFound, UnsupportedLayer, UsageError
from fluoroscope.network.protocol import Layer
from fluoroscope.network.selection import select, showable


def layer(name, kind, family, shape=(4, 4, 2), **more):
    return Layer(name=name, kind=kind, family=family, shape=shape, **more)


LAYERS = (
    layer("picture", "InputLayer", "input"),
    layer("conv2d_1", "Conv2D", "conv", activation="relu", has_pre=True),
    layer("pool_1", "MaxPooling2D", "pool"),
    layer("conv2d_2", "Conv2D", "conv", activation="relu", has_pre=True),
    layer("block/conv", "Conv2D", "conv"),
    layer("lambda_1", "Lambda", "other", (), problem="holds bytecode, which is never run"),
    layer("flat", "Flatten", "reshape", (32,)),
    layer("dense_1", "Dense", "dense", (3,), activation="softmax", has_pre=True),
)
NETWORK = SimpleNamespace(layers=LAYERS)
SHOWN = ("conv2d_1", "pool_1", "conv2d_2", "block/conv", "flat", "dense_1")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, SHOWN),
        ("all", ("picture", *SHOWN)),
        ("conv2d_2", ("conv2d_2",)),
        ("picture", ("picture",)),
        ("conv2d_?", ("conv2d_1", "conv2d_2")),
        ("conv2d_[!1]", ("conv2d_2",)),
        ("*conv*", ("conv2d_1", "conv2d_2", "block/conv")),
        ("block/*", ("block/conv",)),
        ("conv", ("conv2d_1", "conv2d_2", "block/conv")),
        ("Conv2D", ("conv2d_1", "conv2d_2", "block/conv")),
        ("pool", ("pool_1",)),
        ("input", ("picture",)),
        ("3", ("conv2d_2",)),
        ("-1", ("dense_1",)),
        (3, ("conv2d_2",)),
        (np.int64(3), ("conv2d_2",)),
        (-1, ("dense_1",)),
        ("1:4", ("conv2d_1", "pool_1", "conv2d_2")),
        (":3", ("picture", "conv2d_1", "pool_1")),
        ("4:", ("block/conv", "flat", "dense_1")),
        ("::2", ("picture", "pool_1", "block/conv", "flat")),
        ("6:1:-2", ("pool_1", "block/conv", "flat")),
        (slice(1, 4), ("conv2d_1", "pool_1", "conv2d_2")),
        (slice(-2, None), ("flat", "dense_1")),
        ("dense_1,conv2d_1", ("conv2d_1", "dense_1")),
        (" dense_1 , conv2d_1 ,", ("conv2d_1", "dense_1")),
        (["dense_1", 1, slice(2, 3)], ("conv2d_1", "pool_1", "dense_1")),
        (("conv2d_1", "conv2d_1", "conv"), ("conv2d_1", "conv2d_2", "block/conv")),
        ("conv,!conv2d_1", ("conv2d_2", "block/conv")),
        ("!conv2d_1,conv", ("conv2d_2", "block/conv")),
        ("!conv", ("pool_1", "flat", "dense_1")),
        ("!conv,!flat", ("pool_1", "dense_1")),
        ("!merge", SHOWN),
        ("!nothing*", SHOWN),
        ("!0", SHOWN),
        ("conv2d_1:pre", ("conv2d_1:pre",)),
        ("conv2d_1,conv2d_1:pre", ("conv2d_1:pre", "conv2d_1")),
        ("conv:pre", ("conv2d_1:pre", "conv2d_2:pre")),
        ("conv2d_*:pre", ("conv2d_1:pre", "conv2d_2:pre")),
        ("all:pre", ("conv2d_1:pre", "conv2d_2:pre", "dense_1:pre")),
        ("1:3:pre", ("conv2d_1:pre",)),
        ("-1:pre", ("dense_1:pre",)),
        ("all:pre,!dense_1:pre", ("conv2d_1:pre", "conv2d_2:pre")),
        # Asked for by name, a layer that cannot be run is found: running it says why it cannot.
        ("lambda_1", ("lambda_1",)),
        ("Lambda", ("lambda_1",)),
    ],
    ids=repr,
)
def test_forms(wanted, found):
    assert select(NETWORK, wanted) == found


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        (
            "conv2d_3",
            LayerNotFound,
            r"No layer is called 'conv2d_3'.*Did you mean 'conv2d_[12]' or 'conv2d_[12]'\?",
        ),
        ("zzzzzz", LayerNotFound, "`fluoroscope summary MODEL` lists them"),
        ("x*", LayerNotFound, "no kind or pattern"),
        ("merge", LayerNotFound, "No layer is called 'merge'"),
        ("8", LayerNotFound, "There is no layer 8: they are numbered 0 to 7"),
        ("-9", LayerNotFound, "There is no layer -9"),
        (99, LayerNotFound, "There is no layer 99"),
        ("!conv2d_9", LayerNotFound, "No layer is called 'conv2d_9'"),
        ("!", LayerNotFound, "No layer is called ''"),
        ("pool_1:pre", LayerNotFound, "'pool_1:pre': no such layer has a fused activation"),
        ("flat:pre", LayerNotFound, "nothing before it"),
        ("1:5:0", UsageError, "steps of 0"),
        (slice(0, 5, 0), UsageError, "steps of 0"),
        ("", UsageError, "'' leaves no layer"),
        (",", UsageError, "leaves no layer"),
        ([], UsageError, "leaves no layer"),
        ("5:3", UsageError, "'5:3' leaves no layer"),
        ("conv,!conv", UsageError, "leaves no layer"),
        ([None], UsageError, "None is no name, number or range"),
        (1.5, UsageError, "1.5 is no name, number or range"),
    ],
    ids=repr,
)
def test_messages(wanted, error, message):
    with pytest.raises(error, match=message):
        select(NETWORK, wanted)


@pytest.mark.parametrize(
    ("one", "shown"),
    [
        (layer("a", "Conv2D", "conv", (4, 4, 2)), True),
        (layer("a", "Dense", "dense", (3,)), True),
        (layer("a", "Conv3D", "conv", (4, 4, 4, 2)), True),
        (layer("a", "Conv2D", "conv", (4, 4, 2), problem="no"), False),
        (layer("a", "Conv2D", "conv", ()), False),
        (layer("a", "Reshape", "reshape", (2, 2, 2, 2, 2)), False),
    ],
)
def test_what_can_be_shown(one, shown):
    assert showable(one) is shown


def test_a_name_wins_over_every_other_meaning():
    network = SimpleNamespace(
        layers=(
            layer("first", "Conv", "conv"),
            layer("conv", "Relu", "activation"),
            layer("0", "Relu", "activation"),
            layer("all", "Relu", "activation"),
            layer("a,b", "Relu", "activation"),
            layer("!c", "Relu", "activation"),
            layer("d:pre", "Relu", "activation"),
            layer("e[1]", "Relu", "activation"),
        )
    )
    for one in network.layers:
        assert select(network, one.name) == (one.name,)
        assert select(network, [one.name]) == (one.name,)


TERMS = st.one_of(
    st.sampled_from([one.name for one in LAYERS]),
    st.sampled_from(["conv", "Conv2D", "all", "conv*", "conv:pre", "dense_1:pre", "1:5", "::-1", "-3:", "2"]),
    st.integers(-8, 7),
    st.slices(8),
)


@given(st.lists(st.one_of(TERMS, st.sampled_from(["!conv", "!conv2d_1", "!2:4", "!all:pre"])), min_size=1))
def test_what_comes_out_is_unique_and_in_network_order(terms):
    try:
        found = select(NETWORK, terms)
    except UsageError:
        return
    places = [[one.name for one in LAYERS].index(name.removesuffix(":pre")) for name in found]
    assert len(set(found)) == len(found)
    assert places == sorted(places)


@given(st.lists(TERMS, min_size=1), st.lists(TERMS, min_size=1))
def test_several_terms_mean_what_each_means(some, others):
    try:
        both = set(select(NETWORK, some)) | set(select(NETWORK, others))
    except UsageError:
        return
    assert set(select(NETWORK, some + others)) == both


@given(st.text(max_size=12))
def test_any_text_means_something_or_is_refused_politely(wanted):
    try:
        found = select(NETWORK, wanted)
    except FluoroscopeError:
        return
    assert found


@pytest.mark.parametrize(
    ("left", "error", "message"),
    [
        ([LAYERS[0], LAYERS[5]], UnsupportedLayer, "No layer of 'it' can be run. holds bytecode, which"),
        ([LAYERS[0]], UsageError, "'it' has no layers but its inputs. To see those: --layers all"),
    ],
)
def test_a_network_of_which_nothing_can_be_shown(left, error, message):
    with pytest.raises(error, match=message):
        select(SimpleNamespace(layers=left, name="it"))
