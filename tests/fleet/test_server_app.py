"""Rounds over phones in this process: who is asked, what is kept, and the signed result."""

import json

import numpy as np
import pytest
from fleet_terms import terms

pytest.importorskip("flwr", reason="Flower is not installed: make test-fleet, or pip install 'idletune[fleet]'")

from flwr.app import Error, Message, MessageType, MetricRecord, RecordDict  # noqa: E402
from flwr.supercore.task_identity import TaskIdentity  # noqa: E402
from idletune.errors import DamagedDataError  # noqa: E402
from idletune.fleet.result import check_result  # noqa: E402
from idletune.formats.gguf_file import GgufFile  # noqa: E402
from idletune.formats.model_shape import ModelShape  # noqa: E402
from idletune.training.lora import read_adapter  # noqa: E402
from idletune_fleet.client_app import ARRAYS, CONFIG, EXAMPLES, LOSS, METRICS, READY, record_of, values_of  # noqa: E402
from idletune_fleet.fleet_folder import FleetFolder  # noqa: E402
from idletune_fleet.server_app import run  # noqa: E402


class Killed(Exception):
    pass


class Phones:
    """Each adds its number to all of B. `away` are those that are not ready, by how often they have been asked."""

    def __init__(self, count=2, away=lambda node, asked: False, ends_after=100):
        self.count, self.away, self.ends_after = count, away, ends_after
        self.asked = {node: 0 for node in self.get_node_ids()}
        self.trained: list[int] = []

    def get_node_ids(self):
        return range(1, self.count + 1)

    def send_and_receive(self, messages, *, timeout=None):
        return [self.answer(message) for message in messages]

    def answer(self, message):
        node = message.metadata.dst_node_id
        if message.metadata.message_type == MessageType.QUERY:
            self.asked[node] += 1
            ready = int(not self.away(node, self.asked[node]))
            return Message(RecordDict({METRICS: MetricRecord({READY: ready})}), reply_to=message)
        assert message.content[CONFIG]["terms"] and message.content[CONFIG]["a-sha256"]
        if message.metadata.message_type == MessageType.EVALUATE:
            return Message(RecordDict({METRICS: MetricRecord({EXAMPLES: 1, LOSS: float(node)})}), reply_to=message)
        self.trained.append(node)
        if len(self.trained) > self.ends_after:
            raise Killed
        if node == 13:
            return Message(Error(1001, "declined"), reply_to=message)
        arrays = record_of(values_of(message.content[ARRAYS]) + np.float32(node))
        return Message(RecordDict({ARRAYS: arrays, METRICS: MetricRecord({EXAMPLES: 1})}), reply_to=message)


@pytest.fixture(autouse=True)
def identity():
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1


@pytest.fixture
def make_folder(tiny_path, tmp_path):
    def make(**changed):
        agreed = terms(clipping_norm=1000.0, rounds=3, **changed)
        del agreed["base_sha256"], agreed["operator_key"]
        return FleetFolder.make(tmp_path / "fleet", tiny_path, agreed, 0)

    return make


def test_rounds_add_up_and_the_result_is_signed_for_these_terms(make_folder, tiny_path):
    folder, phones = make_folder(tell_loss=True), Phones()
    run(phones, folder, pause_seconds=0)
    assert phones.trained == sorted(phones.trained[:2]) * 3 or sorted(phones.trained) == [1, 1, 1, 2, 2, 2]
    assert folder.progress().b == pytest.approx(4.5)  # three rounds of 1.5
    statement = check_result(folder.path / "fleet.gguf", folder.terms)
    assert statement["phones"] == [2, 2, 2] and statement["held_out_losses"] == [1.5, 1.5, 1.5]
    lora = read_adapter(folder.path / "fleet.gguf", ModelShape.of(GgufFile(tiny_path)))
    assert lora.layers[0]["ffn_down.lora_b"] == pytest.approx(4.5)
    assert (lora.layers[0]["ffn_down.lora_a"] == folder.lora().layers[0]["ffn_down.lora_a"]).all()


def test_a_killed_run_goes_on_after_the_last_round_that_was_kept(make_folder):
    folder = make_folder()
    with pytest.raises(Killed):
        run(Phones(ends_after=3), folder, pause_seconds=0)  # in the second round
    assert folder.progress().rounds == 1
    phones = Phones()
    run(phones, folder, pause_seconds=0)
    assert len(phones.trained) == 4 and folder.progress().b == pytest.approx(4.5)


def test_no_phone_trains_before_enough_are_ready(make_folder):
    folder, phones = make_folder(), Phones(away=lambda node, asked: node == 2 and asked < 4)
    run(phones, folder, pause_seconds=0)
    assert phones.asked[1] == 6 and len(phones.trained) == 6


def test_of_many_phones_as_many_take_part_as_the_terms_say(make_folder):
    folder, phones = make_folder(phones=3), Phones(count=7, away=lambda node, asked: node == 7)
    run(phones, folder, pause_seconds=0)
    assert len(phones.trained) == 9 and 7 not in phones.trained and folder.progress().replies == [3, 3, 3]


def test_the_statement_says_what_was_spent(make_folder):
    folder = make_folder(noise_multiplier=6.0, epsilon=2.0)
    run(Phones(), folder, pause_seconds=0)
    statement = json.loads((folder.path / "fleet.json").read_text())["statement"]
    assert 1 < statement["epsilon_of_one"] < 2 and statement["epsilon_of_average"] < statement["epsilon_of_one"]


def test_progress_that_is_not_whole_or_of_other_terms_is_refused(make_folder):
    folder = make_folder()
    run(Phones(), folder, pause_seconds=0)
    path = folder.path / "progress.npz"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DamagedDataError, match="progress.npz is damaged"):
        folder.progress()
