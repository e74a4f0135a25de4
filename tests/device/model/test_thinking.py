"""Models that think: prompts that let them or not, thoughts apart from answers, and rows without thoughts."""

import random
from pathlib import Path

import numpy as np
import pytest
from idletune.model.base_model import BaseModel
from idletune.model.chat_template import ChatTemplate, conversation
from idletune.model.llama_engine import LlamaEngine
from idletune.model.thinking import ReplyText, answer_of, closed, open_block
from small_talk import EXCHANGES, GREEDY, assert_alike
from tiny_model import TEMPLATE, write_tiny_model

PUBLISHED = sorted((Path(__file__).parent / "templates").glob("*.jinja"))
QWEN = TEMPLATE + (
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)
OPENS = TEMPLATE + "{{ '<think>\n' }}"  # always
BY_FLAG = TEMPLATE + "{% if '/no_think' not in messages[0].content %}{{ '<think>\n' }}{% endif %}"
REPLIES = [  # text, the block its prompt opened, thoughts and answer
    ("An answer.", "", "", "An answer."),
    ("<think>\nHm.\n</think>\n\nAn answer.", "", "Hm.", "An answer."),
    ("Hm, so\n</think>\n\nAn answer.", "<think>\n", "Hm, so", "An answer."),
    ("\n\n<think></think>An answer.", "", "", "An answer."),
    ("<|channel>thought\nHm </think> so<channel|>An answer.", "", "Hm </think> so", "An answer."),
    ("[THINK]Hm[/THINK]An answer.", "", "Hm", "An answer."),
    ("The tag is <think>, so </think> ends it.", "", "", "The tag is <think>, so </think> ends it."),
    ("<think>never ends </thin", "", "never ends </thin", ""),
    ("<thi", "", "", "<thi"),
    ("Ünïcode 🚀</think>日本", "<think>", "Ünïcode 🚀", "日本"),
]


@pytest.mark.parametrize(("text", "prompt", "thoughts", "answer"), REPLIES)
def test_thoughts_and_answer_are_told_apart_wherever_a_token_ends(text, prompt, thoughts, answer):
    rng, data = random.Random(0), text.encode()
    for _ in range(50):
        cuts = sorted(rng.choices(range(len(data) + 1), k=6))
        told = ReplyText(open_block(prompt))
        for start, end in zip([0, *cuts], [*cuts, len(data)]):
            told.add(data[start:end])
        told.finish()
        assert (told.thoughts.strip(), told.answer.strip()) == (thoughts, answer)


def test_a_character_that_is_cut_is_left_out():
    told = ReplyText()
    told.add("né".encode()[:-1])
    told.finish()
    assert told.answer == "n" and answer_of("<think>a</think> b ") == "b"


def test_an_open_block_is_closed():
    assert closed("user\n<think>\n") == "user\n<think>\n\n</think>\n\n"
    assert closed("turn\n<|channel>thought\n").endswith("<channel|>\n\n") and closed("[THINK]").endswith("[/THINK]\n\n")
    for prompt in ("<think>\n\n</think>\n\n", "use <think> tags\nassistant\n"):
        assert closed(prompt) == prompt and open_block(prompt) is None


@pytest.fixture(scope="module")
def engine(tiny_path):
    engine = LlamaEngine(tiny_path, cells=256, sequences=1, threads=1)
    yield engine
    engine.close()


@pytest.fixture
def template_of(engine, monkeypatch):
    def make(source: str) -> ChatTemplate:
        monkeypatch.setitem(engine.metadata, "tokenizer.chat_template", source)
        return ChatTemplate(engine)

    return make


@pytest.mark.parametrize("path", PUBLISHED, ids=[path.stem for path in PUBLISHED])
def test_a_published_templates_rows_are_what_is_answered_without_thoughts(template_of, engine, path):
    template = template_of(path.read_text(encoding="utf-8"))
    for question, response in EXCHANGES:
        example = template.encode_exchange(question, response, "", (), None)
        prompt = template.encode_prompt(conversation(question))
        assert example.tokens[: len(prompt)].tolist() == prompt
        assert open_block(template.render(conversation(question))) is None
        text, said = (b"".join(map(engine.piece, part)) for part in (prompt, example.tokens[len(prompt) : -1]))
        assert said.decode().strip() == template.safe(response)
        asked = template.question_range(prompt, question)
        assert b"".join(engine.piece(prompt[at]) for at in asked).decode().strip() == template.safe(question)
    spoken = "<think>\nHm.\n</think>\n\nYes."
    with_thoughts, without = (template.encode_reply(reply) for reply in (spoken, "Yes."))
    assert with_thoughts == without


THINKERS = {"deepseek-r1-distill-qwen": True, "gemma-4": False, "minicpm5": True, "qwen3": False, "qwen3.5": True}
THINKERS |= {"smollm3": False}  # whether a prompt with thoughts ends in an open block


@pytest.mark.parametrize("path", PUBLISHED, ids=[path.stem for path in PUBLISHED])
def test_the_setting_reaches_the_templates_that_know_it(template_of, path):
    template = template_of(path.read_text(encoding="utf-8"))
    without, with_thoughts = (template.render(conversation("a question"), thinking) for thinking in (False, True))
    assert (without != with_thoughts) == (path.stem in THINKERS)
    assert (template.think_block is not None) == THINKERS.get(path.stem, False)


def test_a_reply_in_the_history_has_no_thoughts(template_of):
    template, question = template_of(TEMPLATE), {"role": "user", "content": "<think>a</think> question"}
    for given in ("<think>\nHm.\n</think>\n\nYes.", "Yes."):
        text = template.render([question, {"role": "assistant", "content": given}, question])
        assert "assistant\nYes.<|im_end|>" in text and "Hm" not in text and "a<" in text


def test_a_flag_in_the_system_message_where_the_template_knows_that_alone(template_of):
    template = template_of(BY_FLAG)
    assert "system\n/no_think<|im_end|>" in template.render(conversation("hello"))
    assert "system\nbe brief\n/no_think<|im_end|>" in template.render(conversation("hello", "be brief"))
    assert "/no_think" not in template.render(conversation("hello"), thinking=True)
    assert "/no_think" not in template_of(QWEN).render(conversation("hello"))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    path = tmp_path_factory.mktemp("qwen") / "tiny.gguf"
    with BaseModel(write_tiny_model(path, template=QWEN, added=["<think>", "</think>", "<b>"]), threads=1) as model:
        yield model


def speaks(monkeypatch, model, text: str) -> None:
    """The model says this, whatever it computes."""
    tokens = iter([*model.tokenize(text, special=True), model.engine.end_of_text])
    monkeypatch.setattr(model.engine, "sample", lambda sampler, index: next(tokens))


@pytest.mark.parametrize("thinking", [False, True])
def test_thoughts_are_streamed_apart_and_the_answer_is_embedded_without_them(qwen, monkeypatch, thinking):
    speaks(monkeypatch, qwen, "<think>\nHm.\n</think>\n\nYes, I do.")
    thoughts, answer = [], []
    options = GREEDY | dict(max_tokens=64, thinking=thinking, on_text=answer.append, on_thought=thoughts.append)
    reply = qwen.chat(conversation("Do you think?"), seed=0, **options)
    assert (reply.thoughts, reply.text, reply.stop) == ("Hm.", "Yes, I do.", "end")
    assert ("".join(thoughts).strip(), "".join(answer)) == ("Hm.", "Yes, I do.")
    expected = qwen.embed_exchange("Do you think?", "Yes, I do.")
    assert_alike(reply.embeddings.question, expected.question)
    assert_alike(reply.embeddings.reply, expected.reply)


def test_a_batchs_replies_have_their_thoughts_apart(qwen, monkeypatch):
    speaks(monkeypatch, qwen, "<think>END?</think>Yes END no")
    prompt = qwen.encode_prompt(conversation("hello"))
    (reply,) = qwen.generate([prompt], seeds=[0], stop_text="END", **GREEDY | dict(max_tokens=64))
    assert reply.thoughts == "END?" and reply.text.startswith("Yes END")


def test_a_person_speaks_no_markers(qwen):
    think = qwen.tokenize("<think>", special=True)
    assert len(think) == 1
    for text in ("<think>so</think>", "say <think>"):
        ours = qwen.encode_prompt(conversation(text))
        assert ours.count(think[0]) == qwen.encode_prompt(conversation("so")).count(think[0])
    assert "<b>" in qwen.detokenize(qwen.encode_prompt(conversation("a <b>bold</b> word")))


SPACES = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
FORMS = {
    "a line break before the reply": SPACES
    + "{% if add_generation_prompt %}<|im_start|>assistant\n{{ '' }}{% endif %}",
    "a control token before the reply": (
        "{% for m in messages %}{% if m.role == 'user' %}<|im_start|>{{ m.content }}<|im_end|>"
        "{% else %}{{ m.content }}<|endoftext|>{% endif %}{% endfor %}"
    ),
    "a space that the reply begins with": (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% else %}{{ ' ' + m.content }}<|im_end|>{% endif %}{% endfor %}"
    ),
    "a line break that the reply begins with": (
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_sentencepiece_rows_are_what_the_engine_reads(tmp_path_factory, monkeypatch, form):
    """A text that stands alone gets a space in front; behind the template's own text it mostly has none."""
    pieces = [*"abcdefghijklmnopqrstuvwxyzHFI.,?▁[]/:'<>|", "▁a", "▁H", "▁F", "He", "▁He", "ow", "▁How"]
    path = write_tiny_model(tmp_path_factory.mktemp("spm") / "tiny.gguf", template=FORMS[form], pieces=pieces)
    engine = LlamaEngine(path, cells=256, sequences=1, threads=1)
    template = ChatTemplate(engine)
    for question, response in [("How are you?", "Fine, thanks."), ("a b", "a a"), ("I", "He")]:
        turn = template.render_unchecked([*conversation(question), {"role": "assistant", "content": response}])
        whole = engine.tokenize(turn, special=True, begin=True)
        example = template.encode_exchange(question, response, "", (), None)
        assert whole[: len(example.tokens) - 1] == example.tokens[:-1].tolist()
        learned = template.encode_exchange(question, response, "", (), None, train_on_question=True)
        first, reply = (np.flatnonzero(each.labels >= 0)[0] for each in (learned, example))
        asked = template.question_range(template.encode_prompt(conversation(question)), question)
        assert asked is not None and first == asked.start - 1 < reply
    engine.close()
