"""What the benchmarks share."""

from idletune.training.lora import Lora

from benchmarks.common import make_layers


def test_trainers_are_compared_with_adapters_of_one_form(tiny_path):
    """torch + PEFT and QVAC are given rank 8 on q, k, v and o of all layers."""
    lora = make_layers(tiny_path, 64, 500, 1)[0].lora
    assert lora.size == Lora(lora.shape, "q,k,v,o", 8, 16.0).size and lora.scale == 2 and lora.first == 0
