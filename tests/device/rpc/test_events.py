import threading

from idletune.rpc.events import MOST_WAITING, EventQueue


def taken(queue):
    found = []
    while (event := queue.take(0)) is not None:
        found.append((event["method"], event["params"]))
    return found


def test_pieces_of_one_answer_are_joined_those_of_two_are_not():
    queue = EventQueue()
    for key, part in ((1, "a"), (2, "x"), (1, "b"), (2, "y")):
        queue.put("event.chat_text", key, request_id="same", text=part)
    assert [params["text"] for _, params in taken(queue)] == ["ab", "xy"]
    queue.put("event.chat_text", 1, request_id="same", text="c")
    assert taken(queue) == [("event.chat_text", {"request_id": "same", "text": "c"})]


def test_of_progress_only_the_newest_waits_in_its_old_place():
    queue = EventQueue()
    queue.put("event.training", stage="training", done=1, total=9)
    queue.put("event.prompt", 3, prompt={"id": 3})
    queue.put("event.training", stage="training", done=2, total=9)
    assert [name for name, _ in taken(queue)] == ["event.training", "event.prompt"]


def test_a_question_that_is_open_no_more_is_not_told():
    queue = EventQueue()
    queue.put("event.prompt", 3, prompt={"id": 3, "question": "my secret"})
    queue.put("event.prompt", 4, prompt={"id": 4})
    queue.put("event.prompt_dismissed", 3, prompt_id=3)
    assert taken(queue) == [("event.prompt", {"prompt": {"id": 4}}), ("event.prompt_dismissed", {"prompt_id": 3})]


def test_a_reader_that_never_comes_costs_little():
    queue = EventQueue()
    for i in range(10 * MOST_WAITING):
        queue.put("event.chat_text", i, request_id=i, text="x")
    found = taken(queue)
    assert len(found) == MOST_WAITING and found[-1][1]["request_id"] == 10 * MOST_WAITING - 1


def test_close_wakes_a_waiting_reader_and_leaves_what_waits():
    queue, got = EventQueue(), []
    reader = threading.Thread(target=lambda: got.append(queue.take(1e30)))
    reader.start()
    queue.close()
    reader.join(10)
    assert got == [None]
    queue.put("event.prompt", 1, prompt={})
    assert queue.take(-1.0)["method"] == "event.prompt" and queue.take(60) is None
