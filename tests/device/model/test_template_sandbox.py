"""Chat templates: the published ones render as in transformers, hostile ones end within bounded work and memory."""

import resource
import sys
from pathlib import Path

import pytest
from hostile_templates import ATTACKS
from idletune.model import template_sandbox
from idletune.model.template_sandbox import compiled
from jinja2.exceptions import SecurityError

PUBLISHED = sorted((Path(__file__).parent / "templates").glob("*.jinja"))
QUESTION = [{"role": "user", "content": "a question"}]
MOST_LINES = 8_000_000  # of Python, to compile a template and render it with 20,000 units; 4 million are measured
MOST_MEMORY = 2**30  # bytes


def talk(turns: int) -> list[dict]:
    return [
        {"role": "assistant" if turn % 2 else "user", "content": f"turn {turn}: <b>é & 日本</b> 'ok' 🚀\n  indented"}
        for turn in range(turns)
    ]


@pytest.fixture
def bounded(monkeypatch):
    """Ends what runs too many lines or takes too much memory."""
    monkeypatch.setattr(template_sandbox, "UNITS", 20_000)
    monkeypatch.setattr(template_sandbox, "UNITS_A_MESSAGE", 0)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before, lines = resource.getrlimit(resource.RLIMIT_AS), iter(range(MOST_LINES))

    def count(frame, event, argument):
        if next(lines, None) is None:
            sys.settrace(None)
            raise AssertionError(f"more than {MOST_LINES:,} lines")
        return count

    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, before[1]))
    traced = sys.gettrace()
    sys.settrace(count)
    yield
    sys.settrace(traced)
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.slow
@pytest.mark.parametrize(("said", "source"), [a[1:] for a in ATTACKS], ids=[a[0] for a in ATTACKS])
def test_a_hostile_template_ends(bounded, said, source):
    try:
        rendered, error = compiled(source)(messages=QUESTION), ""
    except AssertionError:
        raise
    except Exception as caught:
        rendered, error = "", str(caught)
    assert error.startswith(said) if said else len(rendered) < 1000


def test_the_budget_of_a_question_prints_two_million_characters():
    source = (
        "{% for a in range(99999) %}"
        + "x" * 1600
        + "{% if a == LAST %}{{ raise_exception('end') }}{% endif %}{% endfor %}"
    )
    with pytest.raises(ValueError, match="end"):
        compiled(source.replace("LAST", "1250"))(messages=QUESTION)
    with pytest.raises(SecurityError, match="more work"):
        compiled(source.replace("LAST", "2500"))(messages=QUESTION)


@pytest.mark.slow
@pytest.mark.parametrize("path", PUBLISHED, ids=[path.stem for path in PUBLISHED])
@pytest.mark.parametrize("turns", [1, 5])
@pytest.mark.parametrize("system", ["", "be brief"])
@pytest.mark.parametrize("thinking", [False, True])
def test_a_published_template_renders_as_in_transformers(path, turns, system, thinking):
    messages = [{"role": "system", "content": system}, *talk(turns)] if system else talk(turns)
    texts = dict(bos_token="<s>", eos_token="</s>")
    try:
        theirs = in_transformers(
            path.read_text(encoding="utf-8"),
            messages,
            texts | dict(enable_thinking=thinking, date_string="26 Jul 2024"),
        )
    except Exception:  # Gemma 2 knows no system messages
        assert path.stem == "gemma-2" and system
        return
    assert compiled(path.read_text(encoding="utf-8"), **texts)(messages=messages, thinking=thinking) == theirs


def test_the_date_is_always_the_same():
    assert compiled("{{ strftime_now('%d %b %Y') }} {{ date_string }}")(messages=QUESTION) == "26 Jul 2024 26 Jul 2024"


@pytest.mark.slow
@pytest.mark.parametrize("path", PUBLISHED, ids=[path.stem for path in PUBLISHED])
def test_a_published_template_has_work_to_spare_for_a_long_conversation(path):
    render = compiled(path.read_text(encoding="utf-8"), bos_token="<s>", eos_token="</s>")
    assert "turn 400" in render(messages=talk(401))


def in_transformers(source: str, messages: list[dict], texts: dict) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    (rendered,), _ = render_jinja_template([messages], chat_template=source, add_generation_prompt=True, **texts)
    return rendered
