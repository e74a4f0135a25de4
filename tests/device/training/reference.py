"""PyTorch + PEFT on the dequantized model: what training is compared with."""

import numpy as np
import torch
from idletune.examples import IGNORE_INDEX, Example
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.training.layers import Layers
from idletune.training.lora import Lora
from idletune.training.weights import Weights
from idletune_export.hugging_face_folder import load_gguf_model
from idletune_export.peft_model import from_peft, peft_parameters, with_peft


def make_layers(
    path,
    *,
    targets="q,k,v,o",
    rank=8,
    recompute=0,
    resident=99,
    threads=1,
    seed=0,
    top_layers=0,
    int8=False,
):
    """Layers over the file with an adapter whose B is not zero, so that every gradient counts."""
    lora = Lora(ModelShape.of(GgufFile(path)), targets, rank, 16, top_layers).initialize(seed)
    rng = np.random.default_rng(seed + 1)
    for views in lora.layers:
        for name, view in views.items():
            if name.endswith("lora_b"):
                view[...] = rng.standard_normal(view.shape) * 0.02
    return layers_with(path, lora, recompute=recompute, resident=resident, threads=threads, int8=int8)


def layers_with(path, lora, *, recompute=False, resident=99, threads=1, int8=False):
    """Layers over the file with this adapter."""
    weights = Weights(GgufFile(path), lora.shape, threads=threads, resident=range(resident))
    return Layers(weights, lora, threads=threads, recompute=recompute, int8=int8, int8_head=int8)


def random_examples(vocabulary, lengths, seed=0, shared=0):
    """Examples of the given lengths; their first `shared` tokens are the same, and carry no labels."""
    rng = np.random.default_rng(seed)
    beginning, examples = rng.integers(0, vocabulary, shared), []
    for n in lengths:
        labels = rng.integers(0, vocabulary, n).astype(np.int32)
        labels[: max(n // 2, shared)] = IGNORE_INDEX
        tokens = np.concatenate([beginning, rng.integers(0, vocabulary, n - shared)])
        examples.append(Example(tokens.astype(np.int32), labels))
    return examples


def reference_model(path, lora):
    """In float64: float32 sums over a large vocabulary are too coarse to be held against."""
    return with_peft(load_gguf_model(path), lora).double()


def reference_loss(model, examples):
    """Summed cross-entropy; every example runs alone, so packing is checked too."""
    total = 0
    for tokens, labels in examples:
        logits = model(input_ids=torch.from_numpy(tokens.astype(np.int64))[None]).logits[0]
        wanted = torch.from_numpy(labels.astype(np.int64))
        total = total + torch.nn.functional.cross_entropy(logits, wanted, ignore_index=IGNORE_INDEX, reduction="sum")
    return total


def relative_errors(model, lora, flat):
    """{tensor name: |ours - theirs| / |theirs|} of the gradients PyTorch holds."""
    views, errors = lora.views(flat), {}
    for layer, name, parameter, side in peft_parameters(model, lora):
        theirs = from_peft(parameter.grad.numpy(), name, side, lora.shape)
        ours = views[layer][f"{name}.{side}"]
        errors[f"{layer}.{name}.{side}"] = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    return errors
