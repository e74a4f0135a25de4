"""The optimizer, gradient clipping and the schedule against PyTorch's."""

import numpy as np
import pytest
import torch
from idletune.training.optimizer import AdamW, clip_grad_norm, cosine


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_and_clipping_agree_with_torch(weight_decay):
    rng = np.random.default_rng(0)
    start, ours = rng.standard_normal(50).astype(np.float32), AdamW(50, weight_decay)
    mine, theirs = start.copy(), torch.nn.Parameter(torch.from_numpy(start.copy()))
    reference = torch.optim.AdamW([theirs], lr=0.01, weight_decay=weight_decay)
    for _ in range(20):
        gradient = rng.standard_normal(50).astype(np.float32)
        theirs.grad = torch.from_numpy(gradient.copy())
        norm = torch.nn.utils.clip_grad_norm_([theirs], 1.0)
        assert clip_grad_norm(gradient, 1.0) == pytest.approx(norm.item(), rel=1e-5)
        ours.update(mine, gradient, 0.01)
        reference.step()
    np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_the_schedule_warms_up_peaks_and_ends_near_zero():
    rates = [cosine(step, 100, 1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == 1.0 and rates.index(1.0) == 4
    assert 0 < rates[-1] < 0.01 and all(a >= b for a, b in zip(rates[4:], rates[5:]))
    assert cosine(0, 1, 1.0) == 1.0
