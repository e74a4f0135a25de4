"""An adapter is the same one as llama.cpp's file and as PEFT's folder, in the family's own class, both ways."""

import re
import shutil

import numpy as np
import pytest
import torch
from families.classes import load as load_class
from families.folders import EXAONE_NAMES, change_config, renamed
from families.lora_converter import convert_all
from families.losses import token_losses, write_adapter
from families.made import folder_of, make_missing
from families.models import TINY_MODELS
from idletune.errors import IdleTuneError
from idletune.examples import IGNORE_INDEX, Example
from idletune.formats.families import FAMILIES
from idletune.formats.gguf_file import GgufFile
from idletune.formats.gguf_writer import write_gguf
from idletune.formats.model_shape import ModelShape
from idletune.formats.peft_folder import peft_files
from idletune.formats.sublayers import TARGETS
from idletune.training.lora import Lora, read_adapter
from idletune.training.packing import pack
from idletune_export.adapter_files import Adapter, convert_adapter, write_peft_folder
from idletune_export.base import Base
from peft import LoraConfig, PeftModel, get_peft_model
from reference import layers_with
from safetensors.numpy import load, load_file, save_file

TOKENS = np.random.default_rng(0).integers(0, 260, 24).astype(np.int32)
EXAMPLE = Example(TOKENS, np.append(TOKENS[1:], IGNORE_INDEX).astype(np.int32))
RANK, ALPHA = 4, 8.0


@pytest.fixture(scope="module", params=TINY_MODELS)
def family(request):
    make_missing([request.param])
    return request.param


@pytest.fixture
def base(family):
    return folder_of(family) / "f32.gguf"


@pytest.fixture
def shape(base):
    return ModelShape.of(GgufFile(base))


@pytest.fixture
def ours(family, shape, tmp_path):
    """An adapter of the trainer on all linear layers that can have one."""
    targets = ",".join(short for short, linear in TARGETS.items() if linear in TINY_MODELS[family].modules)
    lora = Lora(shape, targets, RANK, ALPHA)
    lora.flat[...] = 0.1 * np.random.default_rng(1).standard_normal(lora.flat.size)
    return write_adapter(tmp_path / "adapter.gguf", lora, shape.architecture)


@pytest.fixture
def folder_of_peft(family, shape, tmp_path):
    """An adapter that PEFT made and saved, on all linear layers that have a name in GGUF."""
    above = [name for name, module in shape.modules().items() if layer_of(module) >= shape.first_trainable]
    names = [named_for_the_class(name, family) for name in above]
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=names, task_type="CAUSAL_LM")
    torch.manual_seed(0)  # PEFT draws the halves A from the generator that all share
    model = get_peft_model(model_of(family), config)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1, generator=generator)
    model.save_pretrained(tmp_path / "peft")
    rename_matrices(tmp_path / "peft", lambda name: named_for_the_family(name, family))
    return tmp_path / "peft"


def layer_of(module):
    return int(module.tensor.split(".")[1])


def model_of(family):
    return load_class(TINY_MODELS[family], folder_of(family) / "original", torch.float32)


def named_for_the_class(name, family):
    """EXAONE's code is in no package: llama's class computes the same under other names."""
    return renamed(name, {new: old for old, new in EXAONE_NAMES.items()}) if family == "exaone" else name


def named_for_the_family(name, family):
    return renamed(name, EXAONE_NAMES) if family == "exaone" else name


def rename_matrices(folder, rename):
    path = folder / "adapter_model.safetensors"
    save_file({rename(name): array for name, array in load_file(path).items()}, path, {"format": "pt"})


def class_losses(family, folder):
    """Per-token losses of the family's class with a PEFT folder."""
    rename_matrices(folder, lambda name: named_for_the_class(name, family))
    config = folder / "adapter_config.json"
    config.write_text(named_for_the_class(config.read_text(), family))
    model = PeftModel.from_pretrained(model_of(family), folder)
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(TOKENS.astype(np.int64))[None]).logits[0, :-1].double()
    wanted = torch.from_numpy(TOKENS[1:].astype(np.int64))
    return torch.nn.functional.cross_entropy(logits, wanted, reduction="none").numpy()


def assert_same_tensors(first, second):
    first, second = GgufFile(first), GgufFile(second)
    for key in ("general.architecture", "adapter.lora.alpha"):
        assert first.metadata[key] == second.metadata[key]
    assert set(first.tensors) == set(second.tensors)
    for name in first.tensors:
        assert first.tensor(name).shape == second.tensor(name).shape
        assert first.raw(name).tobytes() == second.raw(name).tobytes(), name


def test_every_family_has_names_in_transformers():
    kinds = [kind for family in FAMILIES.values() for kind in family.names.model_types]
    assert len(kinds) == len(set(kinds)) >= len(FAMILIES)


def test_the_class_with_our_folder_computes_what_llama_cpp_serves(family, base, ours, tmp_path):
    folder = tmp_path / "written"
    folder.mkdir()
    for file, content in peft_files(ours, base).items():
        (folder / file).write_bytes(content)
    served = token_losses(base, [EXAMPLE], ours)
    np.testing.assert_allclose(class_losses(family, folder), served, rtol=1e-3)
    assert np.abs(served - token_losses(base, [EXAMPLE])).max() > 0.01


def test_there_and_back_gives_the_same_bits(base, ours, tmp_path):
    convert_adapter(ours, tmp_path / "folder", base)
    convert_adapter(tmp_path / "folder", tmp_path / "back.gguf", base)
    assert_same_tensors(ours, tmp_path / "back.gguf")
    theirs, written = load_file(tmp_path / "folder" / "adapter_model.safetensors"), peft_files(ours, base)
    matrices = load(written["adapter_model.safetensors"])
    assert matrices.keys() == theirs.keys() and all((matrices[name] == theirs[name]).all() for name in theirs)


def test_the_trainer_computes_with_an_adapter_of_peft_what_the_class_does(
    family, base, shape, folder_of_peft, tmp_path
):
    convert_adapter(folder_of_peft, tmp_path / "theirs.gguf", base)
    layers = layers_with(base, read_adapter(tmp_path / "theirs.gguf", shape))
    computed = layers.token_losses(pack([EXAMPLE]))
    np.testing.assert_allclose(computed, class_losses(family, folder_of_peft), rtol=1e-4)
    with layers.lora.disabled():
        assert np.abs(computed - layers.token_losses(pack([EXAMPLE]))).max() > 0.01


def test_llama_cpps_converter_writes_the_same_files(tmp_path):
    failing = ("mistral3", "qwen35")  # their converter knows these as whole models alone
    theirs = {name: tiny for name, tiny in TINY_MODELS.items() if name not in failing}
    make_missing(list(TINY_MODELS))
    generator, wanted = np.random.default_rng(0), []
    for name, tiny in theirs.items():
        base = Base(folder_of(name) / "f32.gguf")
        write_peft_folder(random_adapter(base, generator), tmp_path / name, "base")
        shutil.copytree(folder_of(name) / "original", tmp_path / f"{name}-base")
        if tiny.rewrite:
            tiny.rewrite(tmp_path / f"{name}-base")
        wanted.append((tmp_path / f"{name}-base", tmp_path / name, tmp_path / f"{name}.gguf"))
    convert_all(wanted)
    for name in theirs:
        file = folder_of(name) / "f32.gguf"
        kinds = FAMILIES[Base(file).architecture].names.model_types  # of its own class, which another stands for here
        change_config(tmp_path / f"{name}-base", model_type=kinds[0])
        for base in (file, tmp_path / f"{name}-base"):
            convert_adapter(tmp_path / name, tmp_path / "ours.gguf", base)
            assert_same_tensors(tmp_path / "ours.gguf", tmp_path / f"{name}.gguf")


def random_adapter(base, generator):
    pairs = {
        name: (generator.standard_normal((RANK, columns)), generator.standard_normal((rows, RANK)))
        for name, (rows, columns) in base.shapes().items()
    }
    return Adapter(ALPHA, {name: (a.astype(np.float32), b.astype(np.float32)) for name, (a, b) in pairs.items()})


@pytest.mark.parametrize(
    "name, tensor, said",
    [
        (
            "gemma4",
            "blk.0.attn_q",
            "layer 0, whose K and V layers above may borrow; this model is trained from layer 5",
        ),
        ("gemma4", "blk.8.inp_gate", "has blk.8.inp_gate.weight.lora_a, no LoRA matrix of the layers"),
        ("qwen35", "blk.0.attn_qkv", "has blk.0.attn_qkv.weight.lora_a, no LoRA matrix of the layers"),
    ],
)
def test_an_adapter_that_training_cannot_go_on_from_is_refused_by_name(name, tensor, said, tmp_path):
    make_missing([name])
    matrices = {f"{tensor}.weight.lora_{side}": np.ones((4, 4), np.float32) for side in "ab"}
    write_gguf(tmp_path / "a.gguf", {"general.architecture": name, "adapter.lora.alpha": 8.0}, matrices)
    with pytest.raises(IdleTuneError, match=re.escape(said)):
        read_adapter(tmp_path / "a.gguf", ModelShape.of(GgufFile(folder_of(name) / "f32.gguf")))
