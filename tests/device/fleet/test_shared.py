import numpy as np
import pytest
from fleet_terms import terms
from idletune.errors import DamagedDataError, UsageError
from idletune.fleet.shared import a_digest, b_mask, b_of, use_b
from idletune.fleet.terms import Terms
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape


@pytest.fixture
def lora(tiny_path):
    return Terms.from_dict(terms()).lora(ModelShape.of(GgufFile(tiny_path)))


def test_b_is_half_of_the_adapter_and_begins_as_zero(lora):
    assert b_mask(lora).sum() == 2 * 64 * 2  # layers, rows of down, rank
    assert not b_of(lora).any() and lora.flat[~b_mask(lora)].all()


def test_what_is_put_in_comes_out_and_a_stays(lora):
    a = a_digest(lora)
    b = np.linspace(-1, 1, 256, dtype=np.float32)
    use_b(lora, b)
    assert (b_of(lora) == b).all() and a_digest(lora) == a
    assert (np.concatenate([views["ffn_down.lora_b"].ravel() for views in lora.layers]) == b).all()


def test_an_average_of_b_is_an_average_of_products(lora):
    first, second = np.random.default_rng(0).standard_normal((2, 256)).astype(np.float32)

    def product(b):
        use_b(lora, b)
        return lora.layers[0]["ffn_down.lora_b"] @ lora.layers[0]["ffn_down.lora_a"]

    assert product((first + second) / 2) == pytest.approx((product(first) + product(second)) / 2, abs=1e-5)


def test_vectors_of_another_form_and_absurd_numbers_are_refused(lora):
    with pytest.raises(UsageError, match="255 numbers"):
        use_b(lora, np.zeros(255, np.float32))
    with pytest.raises(UsageError, match="float64"):
        use_b(lora, np.zeros(256))
    for value in (np.nan, np.inf, 1e4):
        with pytest.raises(DamagedDataError, match="beyond"):
            use_b(lora, np.full(256, value, np.float32))
