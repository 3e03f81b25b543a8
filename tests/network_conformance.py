"""What every `Network` must do, whatever it is made of: one class, run on every implementation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from fluoroscope.errors import LayerNotFound, UnsupportedLayer, UsageError
from fluoroscope.network.protocol import InputSpec, Layer, Network, Provenance

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network to be looked at.

    Attributes
    ----------
    network
        Open. The tests leave it as it is.
    oracle
        From a batch by input name, channels last, to the value of every name that can be captured, by
        something that is not ours.
    tolerance
        Of a difference, relative to the greatest value of a layer.
    size
        Height and width for a network that leaves them open; None where they are fixed.
    batch_free
        Whether it takes any number of pictures.
    threads
        Whether several threads may run it at once.
    """

    network: Network
    oracle: Callable[[Arrays], Arrays]
    tolerance: float = 1e-5
    size: tuple[int, int] | None = None
    batch_free: bool = True
    threads: bool = True
    seed: int = 0
    _kept: dict[int, tuple[Arrays, Arrays]] = field(default_factory=dict)

    def batch(self, count: int) -> dict[str, np.ndarray]:
        """Pictures of noise, by input name."""
        rng = np.random.default_rng(self.seed + count)
        batch = {}
        for spec in self.network.inputs:
            shape = list(spec.shape)
            if self.size is not None and len(shape) == 3:
                shape[:2] = self.size
            noise = rng.standard_normal((count, *(side or 5 for side in shape)))
            whole = np.dtype(spec.dtype).kind in "iu"
            batch[spec.name] = np.abs(noise * 50).astype(spec.dtype) if whole else noise.astype(np.float32)
        return batch

    def expected(self, count: int) -> Arrays:
        """What the oracle says of `batch`."""
        if count not in self._kept:
            self._kept[count] = (self.batch(count), self.oracle(self.batch(count)))
        return self._kept[count][1]


class NetworkConformance:
    """Subclass it, and give a fixture ``case``; what it makes can be shared by all tests."""

    def test_it_says_what_it_is(self, case: Case) -> None:
        network = case.network
        assert isinstance(network, Network)
        assert isinstance(network.name, str)
        assert isinstance(network.provenance, Provenance)
        assert network.inputs
        assert all(isinstance(spec, InputSpec) for spec in network.inputs)
        assert all(isinstance(layer, Layer) for layer in network.layers)
        for attribute in (network.inputs, network.layers, network.outputs):
            assert isinstance(attribute, tuple)
            hash(attribute)

    def test_names_are_unique_and_point_to_each_other(self, case: Case) -> None:
        names = [layer.name for layer in case.network.layers]
        known = {*names, *(spec.name for spec in case.network.inputs)}
        assert len(set(names)) == len(names)
        assert len({spec.name for spec in case.network.inputs}) == len(case.network.inputs)
        assert known >= set(case.network.outputs)
        assert case.network.outputs
        for place, layer in enumerate(case.network.layers):
            assert known >= set(layer.inputs)
            # In network order: what a layer takes comes before it.
            assert not set(layer.inputs) & set(names[place:])

    def test_every_value_is_that_of_the_oracle(self, case: Case) -> None:
        expected = case.expected(1)
        found = case.network.run(case.batch(1), list(expected))
        assert list(found) == list(expected)
        for name, values in expected.items():
            self._assert_close(case, name, found[name], values)

    def test_everything_that_can_be_captured_is_compared(self, case: Case) -> None:
        able = {layer.name for layer in case.network.layers if layer.problem is None}
        able |= {f"{layer.name}:pre" for layer in case.network.layers if layer.has_pre}
        inputs = {spec.name for spec in case.network.inputs}
        assert able - inputs == set(case.expected(1)) - inputs

    def test_shapes_are_those_of_the_table(self, case: Case) -> None:
        rows = {layer.name: layer for layer in case.network.layers}
        for name, array in case.network.run(case.batch(1), list(case.expected(1))).items():
            row = rows.get(name) or rows.get(name.removesuffix(":pre"))
            if row is not None:
                assert array.ndim == len(row.shape) + 1
                assert all(said in (None, is_) for said, is_ in zip(row.shape, array.shape[1:], strict=True))

    def test_arrays_are_read_only_float32_and_channels_lie_together(self, case: Case) -> None:
        for name, array in case.network.run(case.batch(1), list(case.expected(1))).items():
            assert array.dtype == np.float32, name
            assert not array.flags.writeable, name
            with pytest.raises(ValueError, match=r"read-only|WRITEABLE"):
                array.flags.writeable = True
            if array.ndim > 2:
                assert np.moveaxis(array, -1, 1)[0, 0].flags.c_contiguous, name

    def test_a_batch_is_its_pictures_one_by_one(self, case: Case) -> None:
        if not case.batch_free:
            pytest.skip("it takes one picture")
        batch, names = case.batch(3), list(case.expected(1))
        together = case.network.run(batch, names)
        expected = case.expected(3)
        for name in names:
            assert len(together[name]) == 3
            self._assert_close(case, name, together[name], expected[name])
        for index in range(3):
            alone = case.network.run({key: value[index : index + 1] for key, value in batch.items()}, names)
            for name in names:
                self._assert_close(case, name, alone[name], together[name][index : index + 1])

    def test_the_caller_s_arrays_stay_as_they_are(self, case: Case) -> None:
        batch = case.batch(1)
        for array in batch.values():
            array.flags.writeable = False
        case.network.run(batch, list(case.expected(1)))
        for name, array in case.batch(1).items():
            np.testing.assert_array_equal(batch[name], array)

    def test_the_same_again_is_the_same(self, case: Case) -> None:
        names = list(case.expected(1))
        first = {name: array.copy() for name, array in case.network.run(case.batch(1), names).items()}
        case.network.run({name: array * 2 for name, array in case.batch(1).items()}, names)
        for name, array in case.network.run(case.batch(1), names).items():
            np.testing.assert_array_equal(array, first[name])

    def test_results_are_not_overwritten_by_the_next_run(self, case: Case) -> None:
        names = list(case.expected(1))
        first = case.network.run(case.batch(1), names)
        copies = {name: array.copy() for name, array in first.items()}
        for factor in (2, 3):
            case.network.run({name: array * factor for name, array in case.batch(1).items()}, names)
        for name in names:
            np.testing.assert_array_equal(first[name], copies[name])

    def test_names_may_come_in_any_order_and_twice(self, case: Case) -> None:
        names = list(case.expected(1))[::-1]
        found = case.network.run(case.batch(1), [*names, *names])
        assert list(found) == names
        assert case.network.run(case.batch(1), []) == {}

    def test_one_input_needs_no_name(self, case: Case) -> None:
        if len(case.network.inputs) > 1:
            with pytest.raises(UsageError, match="give a mapping"):
                case.network.run(next(iter(case.batch(1).values())), case.network.outputs)
            return
        (array,) = case.batch(1).values()
        named, plain = (case.network.run(given, case.network.outputs) for given in (case.batch(1), array))
        for name in case.network.outputs:
            np.testing.assert_array_equal(named[name], plain[name])

    def test_names_that_there_are_not(self, case: Case) -> None:
        with pytest.raises(LayerNotFound, match="No layer is called 'no such layer'"):
            case.network.run(case.batch(1), ["no such layer"])
        plain = next(
            (layer for layer in case.network.layers if not layer.has_pre and not layer.problem), None
        )
        if plain is not None:
            with pytest.raises(LayerNotFound, match="has no fused activation"):
                case.network.run(case.batch(1), [f"{plain.name}:pre"])
        broken = next((layer for layer in case.network.layers if layer.problem), None)
        if broken is not None:
            with pytest.raises(UnsupportedLayer, match="cannot be run"):
                case.network.run(case.batch(1), [broken.name])

    def test_batches_that_cannot_be(self, case: Case) -> None:
        outputs = list(case.network.outputs)
        batch = case.batch(1)
        first = case.network.inputs[0].name
        with pytest.raises(UsageError):
            case.network.run({**batch, first: batch[first][..., None]}, outputs)
        with pytest.raises(UsageError, match="numbers"):
            case.network.run({**batch, first: batch[first].astype("U4")}, outputs)
        with pytest.raises(UsageError, match="empty"):
            case.network.run({name: array[:0] for name, array in batch.items()}, outputs)
        with pytest.raises(LayerNotFound, match="No input is called 'stranger'"):
            case.network.run({**batch, "stranger": batch[first]}, outputs)
        with pytest.raises(UsageError, match="is missing"):
            case.network.run({}, outputs)
        # And it works as before.
        case.network.run(batch, outputs)

    def test_other_numbers_than_float32_are_converted(self, case: Case) -> None:
        batch = {name: np.round(array * 4).astype(np.int64) for name, array in case.batch(1).items()}
        plain = {name: array.astype(np.float32) for name, array in batch.items()}
        names = list(case.network.outputs)
        whole, floats = (case.network.run(given, names) for given in (batch, plain))
        for name in names:
            np.testing.assert_array_equal(whole[name], floats[name])

    def test_sizes(self, case: Case) -> None:
        shape = case.network.inputs[0].shape
        if len(shape) != 3:
            pytest.skip("no picture")
        if case.size is None:
            assert case.network.at_size(*shape[:2]) is case.network
            with pytest.raises(UsageError, match="takes pictures of"):
                case.network.at_size(shape[0] + 1, shape[1])
            return
        sized = case.network.at_size(*case.size)
        assert sized.inputs[0].shape[:2] == case.size
        assert sized.at_size(*case.size) is sized
        assert [layer.name for layer in sized.layers] == [layer.name for layer in case.network.layers]
        names = list(case.expected(1))
        alone, within = (one.run(case.batch(1), names) for one in (sized, case.network))
        for name in names:
            np.testing.assert_array_equal(alone[name], within[name])

    def test_several_threads_at_once(self, case: Case) -> None:
        if not case.threads:
            pytest.skip("one thread at a time")
        names = list(case.expected(1))
        batches = [{name: array + number for name, array in case.batch(1).items()} for number in range(3)]
        alone = [case.network.run(batch, names) for batch in batches]
        wrong: list[str] = []

        def work(number: int) -> None:
            for _ in range(5):
                found = case.network.run(batches[number], names)
                wrong.extend(name for name in names if not np.array_equal(found[name], alone[number][name]))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    @staticmethod
    def _assert_close(case: Case, name: str, found: np.ndarray, expected: np.ndarray) -> None:
        assert found.shape == expected.shape, name
        scale = float(np.abs(expected).max(initial=0)) or 1.0
        apart = float(np.abs(found - expected).max(initial=0))
        assert apart <= case.tolerance * scale, f"{name}: {apart / scale:.1e} of its scale"
