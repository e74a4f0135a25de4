import pytest
from idletune.errors import UsageError
from idletune.formats.metadata import Metadata
from idletune.formats.model_shape import ModelShape
from idletune.training.lora import Lora
from idletune.training.plan import plan_memory

SMOL = ModelShape.from_metadata(
    Metadata(
        {
            "general.architecture": "llama",
            "llama.block_count": 30,
            "llama.embedding_length": 576,
            "llama.feed_forward_length": 1536,
            "llama.attention.head_count": 9,
            "llama.attention.head_count_kv": 3,
            "llama.attention.layer_norm_rms_epsilon": 1e-5,
        }
    ),
    vocabulary=49152,
)


def plan(memory_mb, top_layers=0, cached_tokens=0, int8=False):
    lora = Lora(SMOL, "q,k,v,o", 8, 16, top_layers)
    return plan_memory(lora, 256, memory_mb, cached_tokens, int8=int8)


def test_more_memory_buys_speed():
    plans = [plan(mb) for mb in (1000, 450, 200)]
    assert plans[0].recompute == plans[1].recompute == 0 < plans[2].recompute < 60
    assert plans[0].resident == range(30) and plans[0].resident_output
    assert 0 < len(plans[1].resident) < 30 and plans[1].resident.stop == 30 and not plans[1].resident_output
    assert all(p.megabytes <= mb for p, mb in zip(plans, (1000, 450, 200)))


def test_no_more_is_recomputed_than_has_to_be():
    plans = [plan(mb) for mb in range(170, 400, 10)]
    counts = [p.recompute for p in plans]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) > 10 and counts[-1] == 0
    assert all(p.megabytes <= mb < p.megabytes + 15 for p, mb in zip(plans, range(170, 400, 10)) if p.recompute)
    assert f"recomputes {counts[0]} sublayers" in str(plans[0])


def test_too_small_a_budget_names_the_smallest_that_works():
    with pytest.raises(UsageError, match=r"50 MB is too small.*at least (\d+) MB") as error:
        plan(50)
    least = int(str(error.value).split("at least ")[1].split()[0])
    assert plan(least).recompute and not plan(least).keeps_scales and plan(least).sequence_tokens == 256
    assert plan(450).keeps_scales
    with pytest.raises(UsageError):
        plan(least - 1)


def test_rows_are_shortened_before_a_budget_is_refused():
    lora = Lora(SMOL, "q,k,v,o", 8, 16)
    with pytest.raises(UsageError) as error:
        plan_memory(lora, 512, 50)
    needed = int(str(error.value).split("at least ")[1].split()[0])
    shorter = plan_memory(lora, 512, needed - 20, shortest=256)
    assert 256 <= shorter.sequence_tokens < 512 and shorter.megabytes <= needed - 20 and shorter.recompute
    assert plan_memory(lora, 512, needed, shortest=256).sequence_tokens == 512
    with pytest.raises(UsageError, match="sequences of 256 tokens"):
        plan_memory(lora, 512, 50, shortest=256)


def test_fewer_trained_layers_take_less_but_keep_their_activations():
    assert len(plan(450, top_layers=15).resident) > len(plan(450).resident)
    assert len(plan(450, top_layers=15, cached_tokens=20_000).resident) < len(plan(450, top_layers=15).resident)


def test_more_answers_cost_time_and_never_the_budget_that_was_enough():
    least = plan(450, top_layers=15).megabytes
    for memory_mb, int8 in ((150, False), (460, True), (least, False)):
        few, many = (plan(memory_mb, 15, tokens, int8) for tokens in (0, 10**6))
        assert few.caches_activations and not many.caches_activations and many.megabytes <= memory_mb
        assert (many.sequence_tokens, many.int8, many.recompute) == (few.sequence_tokens, few.int8, few.recompute)
        assert "goes through the lower layers at every step" in str(many)
    assert plan(460, 15, 25_000, int8=True).caches_activations
    assert plan(150, cached_tokens=10**6) == plan(150)  # with all layers trained there is nothing to keep


def test_int8_where_it_fits_and_float32_below():
    assert [plan(mb, int8=True).int8 for mb in (1000, 450, 170)] == [True, True, False]
    assert not plan(1000).int8
    on_int8 = plan(1000, int8=True)
    assert on_int8.resident_output and not on_int8.resident and on_int8.megabytes < plan(1000).megabytes
    assert "int8 frozen products, keeps the output matrix dequantized" in str(on_int8)
    upper_half = plan(1000, top_layers=15, int8=True)
    assert upper_half.resident == range(15) and upper_half.resident_output
    least_output = plan(upper_half.megabytes - 1, top_layers=15, int8=True)
    assert least_output.resident == range(14) and least_output.resident_output  # needed at every step, it stays longest


def test_the_output_matrix_takes_half_as_much_on_int8():
    plans = [plan(mb, int8=True) for mb in range(400, 700)]
    without, kept = ([p for p in plans if not p.recompute and p.resident_output is on] for on in (False, True))
    half = 0.5 * SMOL.vocabulary * SMOL.hidden * 4 / 1e6
    assert kept[0].int8_head and not without[0].int8_head and not plan(1000).int8_head
    assert kept[0].megabytes - without[0].megabytes == pytest.approx(half, abs=3)
