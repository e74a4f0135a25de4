"""BaseModel: opening, closing, adapters."""

import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.formats.gguf_writer import write_gguf
from idletune.model.base_model import BaseModel
from idletune.model.chat_template import conversation
from small_talk import EXCHANGES, GREEDY


def test_adapters_are_swapped_and_removed_at_run_time(tiny, adapter):
    prompt, examples = tiny.encode_prompt(conversation("hi")), [tiny.encode_exchange(*e) for e in EXCHANGES]
    base, base_loss = tiny.generate([prompt], seeds=[0], **GREEDY)[0], tiny.negative_log_likelihood(examples)
    tiny.load_adapter(adapter)
    adapted_loss = tiny.negative_log_likelihood(examples)
    assert tiny.adapter == adapter and abs(adapted_loss[0] / base_loss[0] - 1) > 0.01
    tiny.load_adapter(adapter, scale=0.0)
    assert tiny.negative_log_likelihood(examples)[0] == pytest.approx(base_loss[0], rel=1e-4)
    tiny.remove_adapter()
    assert tiny.adapter is None and tiny.negative_log_likelihood(examples) == base_loss
    assert tiny.generate([prompt], seeds=[0], **GREEDY)[0].tokens == base.tokens


def test_a_bad_adapter_leaves_the_good_one(tiny, tiny_path, adapter, tmp_path):
    tiny.load_adapter(adapter)
    (tmp_path / "half.gguf").write_bytes(adapter.read_bytes()[:-500])
    write_gguf(tmp_path / "foreign.gguf", {"general.architecture": "qwen2", "adapter.type": "lora"}, {})
    for path in (tmp_path / "half.gguf", tmp_path / "foreign.gguf", tiny_path):
        with pytest.raises(DamagedDataError):
            tiny.load_adapter(path)
        assert tiny.adapter == adapter
    tiny.remove_adapter()


def test_wrong_files_and_closed_models_are_refused(tiny_path, tmp_path):
    with pytest.raises(UsageError, match="no model file"):
        BaseModel(tmp_path / "none.gguf")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_path.read_bytes()[:-1000])
    with pytest.raises(DamagedDataError, match="truncated"):
        BaseModel(cut)
    model = BaseModel(tiny_path, context_tokens=128, sequences=1, threads=1)
    model.close()
    model.close()
    with pytest.raises(UsageError, match="closed"):
        model.tokenize("a")
