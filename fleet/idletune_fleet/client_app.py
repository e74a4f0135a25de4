"""The ClientApp: takes the shared adapter to the phone, and brings back what the phone makes of it.

Its node configuration names the phone: `phone="/path/of/the/socket"`. Every phone counts as one example. Why a phone
declines a round stays on this computer: the server learns that it did, nothing more.
"""

from logging import INFO

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore import log

from .phone import Phone, PhoneError, reached

ARRAYS, CONFIG, METRICS, B = "arrays", "config", "metrics", "b"
EXAMPLES, LOSS, READY = "num-examples", "held-out-loss", "ready"
DECLINED = 1001  # an error code beyond Flower's own

app = ClientApp()


@app.query()
def query(message: Message, context: Context) -> Message:
    """Whether the phone would take part in a round now; asking costs nothing of its privacy."""
    try:
        with reached(context.node_config["phone"]) as phone:
            ready = phone.is_ready(message.content[CONFIG]["terms"])
    except PhoneError as error:
        log(INFO, "%s", error)
        ready = False
    return Message(RecordDict({METRICS: MetricRecord({READY: int(ready)})}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round: the shared B with the phone's clipped and noised change."""

    def work(phone: Phone, terms: str, a_sha256: str, shared: np.ndarray) -> RecordDict:
        values, reason = phone.update(terms, a_sha256, shared)
        if values is None:
            raise PhoneError(reason)
        return RecordDict({ARRAYS: record_of(values), METRICS: MetricRecord({EXAMPLES: 1})})

    return _answered(message, context, work)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """How well the shared adapter fits the phone's held-out answers, where the terms say that this is told."""

    def work(phone: Phone, terms: str, a_sha256: str, shared: np.ndarray) -> RecordDict:
        return RecordDict({METRICS: MetricRecord({EXAMPLES: 1, LOSS: phone.loss(terms, a_sha256, shared)})})

    return _answered(message, context, work)


def record_of(values: np.ndarray) -> ArrayRecord:
    """All B as Flower sends them."""
    return ArrayRecord({B: Array(np.ascontiguousarray(values, np.float32))})


def values_of(record: ArrayRecord) -> np.ndarray:
    """The same as float32 (n,)."""
    return record[B].numpy()


def _answered(message: Message, context: Context, work) -> Message:
    config = message.content[CONFIG]
    try:
        with reached(context.node_config["phone"]) as phone:
            shared = values_of(message.content[ARRAYS])
            content = work(phone, config["terms"], config["a-sha256"], shared)
    except PhoneError as error:
        log(INFO, "the phone takes no part in this round: %s", error)
        return Message(Error(DECLINED, "declined"), reply_to=message)
    return Message(content, reply_to=message)
