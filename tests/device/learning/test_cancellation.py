import pytest
from idletune.learning.cancellation import Cancellation, Cancelled


def test_any_request_cancels():
    asked = []
    cancellation = Cancellation(lambda: False, lambda: bool(asked))
    cancellation.check(3, "a progress note")
    assert not cancellation.requested()
    asked.append(1)
    assert cancellation.requested()
    with pytest.raises(Cancelled):
        cancellation.check()
