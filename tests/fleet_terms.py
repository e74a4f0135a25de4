"""Terms of a fleet for tests: of the tiny model where its hash is given."""

SHARED_FORM = {"rank": 2, "alpha": 4.0, "top_share": 1.0, "targets": "down", "epochs": 4, "learning_rate": 0.01}


def terms(base="0" * 64, **changed) -> dict:
    known = {
        "fleet": "the family",
        "base_sha256": base,
        "operator_key": "0" * 64,
        "operator": "Anna",
        "phones": 2,
        "rounds": 5,
        "clipping_norm": 1.0,
        "noise_multiplier": 0.0,
        "epsilon": 0.0,
    }
    return {**known, **SHARED_FORM, **changed}
