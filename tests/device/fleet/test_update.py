"""Rounds on homes of the tiny model: what leaves, what is counted, and what a forgotten set leaves behind."""

import json

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fleet_terms import terms
from idletune.errors import DamagedDataError, UsageError
from idletune.fleet import privacy
from idletune.fleet.result import canonical
from idletune.fleet.shared import a_digest, b_of, use_b
from idletune.fleet.terms import Terms
from idletune.formats.gguf_file import sha256
from idletune.formats.gguf_writer import write_gguf
from idletune.schedule import state_sources
from idletune.settings import Settings
from idletune.state.run_records import open_run
from loop import answer_all, observe, open_tiny_runtime
from rpc_caller import CHANGED, CHARGING

pytestmark = pytest.mark.slow
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.fixture
def opened(tiny_path, tmp_path, monkeypatch):
    """Opens a home by its name, on the charger; answers are given once."""
    monkeypatch.setattr(state_sources, "HOST_FRESH_SECONDS", 3600.0)  # the state is told once
    runtimes = []

    def open_home(name, answers=10, text="aaaa aaaa aaaa", **settings):
        home = tmp_path / name
        runtime = open_tiny_runtime(tiny_path, home)(Settings(**{**CHANGED, **settings}))
        runtimes.append(runtime)
        observe(runtime, answers)
        answer_all(runtime, text)
        runtime.push_device_state(CHARGING)
        return runtime

    yield open_home
    for runtime in runtimes:
        runtime.close()


def joined(runtime, **changed) -> Terms:
    public = KEY.public_key().public_bytes_raw().hex()
    return runtime.fleet.join(terms(runtime.model.sha256, operator_key=public, **changed))


def start(runtime, agreed):
    """The shared B before the first round, and the digest of A."""
    lora = agreed.lora(runtime.pipeline().trainers.shape)
    return b_of(lora), a_digest(lora)


def updated(runtime, agreed, shared=None):
    first, digest = start(runtime, agreed)
    return runtime.fleet.update(agreed.digest, first if shared is None else shared, digest)


def test_an_update_is_the_shared_adapter_with_a_clipped_change(opened):
    runtime = opened("a")
    agreed = joined(runtime, clipping_norm=100.0)
    whole = updated(runtime, agreed)
    assert whole.reason == "made an update for the fleet the family" and whole.values.any()
    small = joined(runtime, clipping_norm=0.01)
    shared = np.full(256, 0.001, np.float32)
    change = updated(runtime, small, shared).values - shared
    assert np.linalg.norm(change) == pytest.approx(0.01, rel=1e-3)
    assert np.linalg.norm(whole.values) > 0.1
    assert runtime.fleet.status()["updates"] == 2
    assert not open_run(runtime.store) and runtime.adapters.current() is None  # the user's own training is untouched


def test_an_update_lowers_the_loss_of_held_out_answers(opened):
    runtime = opened("a")
    agreed = joined(runtime, clipping_norm=100.0, tell_loss=True)
    shared, digest = start(runtime, agreed)
    found = updated(runtime, agreed).values
    before, after = (runtime.fleet.held_out_loss(agreed.digest, b, digest) for b in (shared, found))
    assert after < before - 0.3 and after == round(after, 1)


def test_noise_hides_the_change_and_is_counted_over_all_rounds_and_fleets(opened, monkeypatch):
    drawn = iter(range(100))  # in place of the system's randomness
    monkeypatch.setattr(privacy.secrets, "randbits", lambda bits: next(drawn))
    runtime = opened("a")
    agreed = joined(runtime, noise_multiplier=5.0, epsilon=1.2)  # one round costs 0.73, two 1.06, three 1.33
    first = updated(runtime, agreed).values
    assert np.std(first) == pytest.approx(5, rel=0.2) and "epsilon 0.7" in runtime.fleet.status()["spent"]
    assert runtime.fleet.leave() and not runtime.fleet.leave()
    agreed = joined(runtime, noise_multiplier=5.0, epsilon=1.2, fleet="another")
    assert (updated(runtime, agreed).values != first).all()
    assert runtime.fleet.status()["ready"] is False
    with pytest.raises(UsageError, match="one more update would cost epsilon 1.3.*agreed to 1.2"):
        updated(runtime, agreed)
    assert runtime.fleet.status()["updates"] == 2


def test_nothing_leaves_without_joining_on_other_terms_or_at_a_wrong_time(opened):
    runtime = opened("a")
    with pytest.raises(UsageError, match="in no fleet"):
        runtime.fleet.update("0" * 64, np.zeros(1, np.float32), "")
    agreed = joined(runtime)
    with pytest.raises(UsageError, match="other terms"):
        runtime.fleet.update("0" * 64, *start(runtime, agreed))
    with pytest.raises(UsageError, match="another frozen half"):
        runtime.fleet.update(agreed.digest, start(runtime, agreed)[0], "0" * 64)
    with pytest.raises(UsageError, match="do not say that a loss is told"):
        runtime.fleet.held_out_loss(agreed.digest, *start(runtime, agreed))
    runtime.push_device_state({**CHARGING, "plugged": False})
    declined = updated(runtime, agreed)
    assert declined.values is None and declined.reason == "not plugged in"
    runtime.push_device_state(CHARGING)
    runtime.fleet.leave()
    with pytest.raises(UsageError, match="in no fleet"):
        updated(runtime, agreed)
    assert runtime.fleet.status()["updates"] == 0


def test_a_home_with_too_few_answers_declines(opened):
    runtime = opened("a", answers=4)
    declined = updated(runtime, joined(runtime))
    assert declined.values is None and declined.reason == "4 answers; a round needs 5"


def test_leaving_in_the_middle_of_a_round_stops_it(opened):
    runtime = opened("a")
    agreed = joined(runtime, epochs=20)
    calls = []

    def asked():
        calls.append(1)
        if len(calls) == 3:
            runtime.fleet.leave()
        return ""

    found = runtime.fleet.update(agreed.digest, *start(runtime, agreed), asked=asked)
    assert found.values is None and runtime.fleet.status()["updates"] == 0


def test_a_forgotten_set_is_in_no_later_update(opened):
    """The update of a home that forgot is, bit for bit, that of a home that never had the set."""
    forgetful, other = opened("a"), opened("b")
    ids = sorted(s.id for s in forgetful.buffer.sets())
    agreed = [joined(runtime, clipping_norm=100.0) for runtime in (forgetful, other)][0]
    shared, digest = start(forgetful, agreed)
    with_it = forgetful.fleet.update(agreed.digest, shared, digest).values
    gone = next(s.id for s in forgetful.buffer.sets() if not s.tags["held_out"])
    told = forgetful.forget(gone)
    assert "a copy that may still hold it: the shared adapter of the fleet the family" in str(told)
    other.buffer.hold_out([s.id for s in forgetful.buffer.sets() if s.tags["held_out"]])
    other.forget(gone)  # before its first round
    without = forgetful.fleet.update(agreed.digest, shared, digest).values
    never = other.fleet.update(agreed.digest, shared, digest).values
    assert (without == never).all() and (without != with_it).any() and gone in ids


def test_what_went_into_an_update_judges_no_personal_adapter(opened):
    runtime = opened("a")
    updated(runtime, joined(runtime))
    sent = {s.id for s in runtime.buffer.sets() if not s.tags["held_out"]}
    observe(runtime, 10, start=10)
    answer_all(runtime, "cccc cccc cccc")
    judging = {s.id for s in runtime.pipeline().split().held_out}
    assert len(judging) == 4 and not judging & sent


def test_a_set_forgotten_while_an_update_is_made_takes_the_update_with_it(opened):
    runtime = opened("a")
    agreed, calls = joined(runtime, epochs=20), []

    def asked():
        calls.append(1)
        if len(calls) == 2:
            runtime.forget(runtime.buffer.sets()[0].id)
        return ""

    found = runtime.fleet.update(agreed.digest, *start(runtime, agreed), asked=asked)
    assert found.values is None and runtime.fleet.status()["updates"] == 0


def write_result(folder, runtime, agreed, b, key=KEY, **changed):
    lora = agreed.lora(runtime.pipeline().trainers.shape)
    use_b(lora, b)
    metadata = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    write_gguf(folder / "fleet.gguf", {**metadata, "adapter.lora.alpha": lora.alpha}, lora.tensors())
    statement = {"terms": agreed.digest, "adapter_sha256": sha256(folder / "fleet.gguf"), **changed}
    signed = {"statement": statement, "signature": key.sign(canonical(statement)).hex()}
    (folder / "fleet.json").write_text(json.dumps(signed))
    return folder / "fleet.gguf"


def test_the_fleets_adapter_is_a_warm_start_that_passes_the_gate(opened, tmp_path):
    giver, new = opened("a"), opened("b", answers=8, paraphrases=0)
    agreed = [joined(runtime, clipping_norm=100.0) for runtime in (giver, new)][0]
    result = write_result(tmp_path, giver, agreed, updated(giver, agreed).values)
    taken = new.fleet.take(result)
    assert taken.adopted and taken.losses["engine_adapted"] < taken.losses["engine_serving"]
    assert new.model.adapter == taken.path
    assert new.pipeline().trainers.parent_version() == taken.version
    own = giver.fleet.take(result)  # whoever gave to it can forget what it gave
    knows = giver.buffer.sets()[0].id
    assert own.version in giver.forget(knows).dropped


def test_a_result_that_makes_the_users_answers_worse_is_not_taken(opened, tmp_path):
    giver, other = opened("a"), opened("b", text="zq! zq! zq!")
    agreed = [joined(runtime, clipping_norm=100.0, epochs=20) for runtime in (giver, other)][0]
    result = write_result(tmp_path, giver, agreed, updated(giver, agreed).values)
    with pytest.raises(UsageError, match="your own answers become no more likely"):
        other.fleet.take(result)
    assert other.model.adapter is None and other.adapters.current() is None


def test_a_result_that_was_not_signed_for_this_fleet_is_not_taken(opened, tmp_path):
    runtime = opened("a")
    agreed = joined(runtime, clipping_norm=100.0)
    b = updated(runtime, agreed).values
    forger = Ed25519PrivateKey.generate()
    with pytest.raises(DamagedDataError, match="not signed with the key"):
        runtime.fleet.take(write_result(tmp_path, runtime, agreed, b, forger))
    with pytest.raises(DamagedDataError, match="not the adapter that its statement names"):
        runtime.fleet.take(write_result(tmp_path, runtime, agreed, b, adapter_sha256="0" * 64))
    with pytest.raises(UsageError, match="other terms"):
        runtime.fleet.take(write_result(tmp_path, runtime, agreed, b, terms="0" * 64))
    runtime.fleet.leave()
    with pytest.raises(UsageError, match="no fleet was joined"):
        runtime.fleet.take(write_result(tmp_path, runtime, agreed, b))
    assert runtime.adapters.all() == []


def test_a_home_of_another_base_model_cannot_join(opened):
    runtime = opened("a")
    with pytest.raises(UsageError, match="of another base model than tiny.gguf"):
        runtime.fleet.join(terms("1" * 64))
    assert runtime.fleet.status()["fleet"] == ""
