"""Tokens of transformers drawn as the grid of patches that they are."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
import torch_models
from fluoroscope.activations import FeatureMaps
from fluoroscope.errors import LayerNotFound, UsageError
from fluoroscope.network.protocol import Layer, Shape
from fluoroscope.network.tokens import TokenGrid, token_grids
from toy_activations import feature_maps


def row(name: str, shape: Shape, *inputs: str, kind: str = "Any") -> Layer:
    return Layer(name=name, kind=kind, family="other", shape=shape, inputs=inputs)


def grid(height: int, width: int, apart: int = 0) -> TokenGrid:
    return TokenGrid(height=height, width=width, apart=apart)


class TestWhatIsAGrid:
    def test_patches_and_a_class_token(self) -> None:
        layers = [
            row("in", (28, 42, 3)),
            row("patches", (2, 3, 8), "in"),
            row("flat", (6, 8), "patches"),
            row("cat", (7, 8), "flat"),
            row("mlp", (7, 32), "cat"),
            row("queries", (7, 4, 2), "mlp"),
            row("weights", (7, 7, 2), "queries", kind="Attention"),
            row("out", (7, 8), "weights"),
            row("head", (10,), "out"),
        ]
        assert token_grids(layers) == {
            "flat": grid(2, 3),
            **dict.fromkeys(["cat", "mlp", "weights", "out"], grid(2, 3, 1)),
        }

    def test_the_nearest_maps_and_the_fewest_left_over(self) -> None:
        layers = [
            row("one", (4, 4, 3)),
            row("two", (2, 8, 3), "one"),
            row("tokens", (16, 3), "two"),
            row("more", (3, 5, 3), "tokens"),
            row("again", (16, 3), "more"),
            row("windows", (4, 4, 9), "again"),
        ]
        assert token_grids(layers) == {"tokens": grid(2, 8), "again": grid(2, 8)}

    @pytest.mark.parametrize(
        ("maps", "steps"),
        [
            ((4, 4, 3), 4),
            ((4, 4, 3), 25),
            ((1, 16, 3), 16),
            ((16, 1, 3), 16),
            ((None, None, 3), 16),
            ((2, 2, 3), 8),
        ],
    )
    def test_what_is_none(self, maps: Shape, steps: int) -> None:
        assert token_grids([row("maps", maps), row("steps", (steps, 8), "maps")]) == {}

    def test_a_long_chain_takes_no_time(self) -> None:
        layers = [row("0", (9, 9, 1)), *(row(str(i), (81, i), str(i - 1), "0") for i in range(1, 5000))]
        assert len(token_grids(layers)) == 4999


class TestDrawn:
    def maps(self) -> FeatureMaps:
        values = np.arange(7 * 2, dtype=np.float32).reshape(7, 2)
        return FeatureMaps("tokens", row("tokens", (7, 2)), 0, values, tokens=grid(2, 3, 1))

    def test_maps_are_the_patches(self) -> None:
        maps = self.maps()
        np.testing.assert_array_equal(maps.maps[0], [[2, 4, 6], [8, 10, 12]])
        np.testing.assert_array_equal(maps.apart, [[0, 1]])
        assert not maps.is_sequence
        assert maps.values.shape == (7, 2)
        np.testing.assert_array_equal(maps[[1]].maps[0], [[3, 5, 7], [9, 11, 13]])
        assert (maps.sheet(columns=2, gap=1).geometry.height, len(maps.statistics.mean)) == (2, 2)

    def test_a_query(self) -> None:
        weights = np.arange(7 * 7 * 2, dtype=np.float32).reshape(7, 7, 2)
        maps = FeatureMaps("w", row("w", (7, 7, 2)), 3, weights, tokens=grid(2, 3, 1))
        assert maps.maps.shape == (2, 7, 7)
        seen = maps.query(2)
        assert (seen.name, seen.values.shape) == ("w[2]", (2, 3, 2))
        np.testing.assert_array_equal(seen.maps[1], weights[2, 1:, 1].reshape(2, 3))
        with pytest.raises(LayerNotFound, match="has 7 queries; there is no 7"):
            maps.query(7)
        with pytest.raises(UsageError, match="holds no attention weights over a grid"):
            feature_maps(np.ones((4, 4, 2), np.float32)).query()

    def test_said_in_every_output(self, tmp_path: Path) -> None:
        model = torch_models.timm("vit_tiny_patch16_224", img_size=64, depth=1)
        acts = fs.capture(model, np.zeros((64, 64, 3), np.uint8), layers="patch_embed.proj,blocks.0.norm1")
        acts.save(tmp_path / "maps")
        manifest = json.loads((tmp_path / "maps" / "manifest.json").read_text())
        assert [layer["tokens"] for layer in manifest["layers"]] == [
            None,
            {"height": 4, "width": 4, "apart": 1},
        ]
        assert "17 × 192, tokens as 4 × 4 and 1 apart" in acts["blocks.0.norm1"]._repr_html_()


def grids_of(network: fs.Network) -> dict[str, TokenGrid]:
    return token_grids(network.layers)


class TestNetworks:
    def test_timm_vit_with_registers(self) -> None:
        model = torch_models.timm("vit_tiny_patch16_224", img_size=64, depth=1, reg_tokens=4)
        network = fs.open_network(model, input_shape=(64, 64, 3))
        found = grids_of(network)
        assert {found[name] for name in ("blocks.0.norm1", "blocks.0.mlp.act", "norm")} == {grid(4, 4, 5)}
        assert found["blocks.0.attn:attention"] == grid(4, 4, 5)
        assert found["patch_embed.norm"] == grid(4, 4)

    def test_timm_swin(self) -> None:
        model = torch_models.timm(
            "swin_tiny_patch4_window7_224", img_size=(64, 96), window_size=4, depths=(1, 1, 1, 1)
        )
        network = fs.open_network(model, input_shape=(64, 96, 3))
        rows = {layer.name: layer for layer in network.layers}
        assert rows["layers.0.blocks.0.norm1"].shape == (16, 24, 96)
        found = grids_of(network)
        assert found["layers.0.blocks.0.mlp.act"] == grid(16, 24)
        assert found["layers.2.blocks.0.mlp.act"] == grid(4, 6)

    def test_maps_of_tokens_are_where_the_patches_are(self) -> None:
        model = torch_models.timm("vit_tiny_patch16_224", img_size=64, depth=1).eval()
        with torch.no_grad():
            model.pos_embed.zero_()
            model.patch_embed.proj.bias.zero_()
        picture = np.zeros((64, 64, 3), np.uint8)
        # The patch in row 1, column 3.
        picture[16:32, 48:] = 255
        acts = fs.capture(model, picture, layers="add")
        bright = np.abs(acts["add"].maps).sum(0) > 0
        assert np.argwhere(bright).tolist() == [[1, 3]]

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    def test_a_keras_vit(self, tmp_path: Path) -> None:
        import keras

        inputs = keras.Input((32, 48, 3))
        x = keras.layers.Conv2D(8, 16, strides=16, name="patches")(inputs)
        x = keras.layers.Reshape((6, 8), name="tokens")(x)
        x = keras.layers.LayerNormalization(name="norm")(x)
        x = keras.layers.Add(name="add")([x, keras.layers.Dense(8, name="mlp")(x)])
        model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x))
        model.save(tmp_path / "vit.keras")
        found = grids_of(fs.open_network(tmp_path / "vit.keras"))
        assert found == dict.fromkeys(["tokens", "norm", "mlp", "add"], grid(2, 3))

    def test_an_onnx_vit(self) -> None:
        class Vit(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.patches = nn.Conv2d(3, 8, 16, 16)
                self.token = nn.Parameter(torch.randn(1, 1, 8))
                self.norm = nn.LayerNorm(8)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = self.patches(x).flatten(2).transpose(1, 2)
                return self.norm(torch.cat([self.token.expand(len(x), -1, -1), x], 1))

        stream = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(Vit().eval(), (torch.zeros(1, 3, 32, 48),), stream, dynamo=False)
        network = fs.open_network(stream.getvalue())
        assert grids_of(network)[network.outputs[0]] == grid(2, 3, 1)
