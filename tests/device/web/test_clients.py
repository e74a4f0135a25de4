"""Clients that others have written: OpenAI's own package, `llm`, and a web chat (Gradio's load_chat)."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # they take seconds to import
HELLO = [{"role": "user", "content": "hello bread"}]


@pytest.fixture
def client(web):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{web.url}/v1", api_key=web.token, max_retries=0, timeout=300) as client:
        yield client


def test_openais_package_gets_an_answer(web, client):
    answer = client.chat.completions.create(model="idletune", messages=HELLO, max_tokens=6, seed=3, stop=["never"])
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 6
    streamed = client.chat.completions.create(
        model="idletune", messages=HELLO, max_tokens=6, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(streamed)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text.strip() == answer.choices[0].message.content and last.usage.completion_tokens == 6
    embedded = client.embeddings.create(model="idletune", input=["hello bread"])  # asks for Base64 by itself
    assert len(embedded.data[0].embedding) == 64
    assert [model.id for model in client.models.list()] == ["tiny"] == [client.models.retrieve("tiny").id]
    told = client.post("/feedback", cast_to=object, body={"completion_id": answer.id, "text": "a loaf"})
    assert told["answered"] is True


def test_openais_package_continues_a_text(web, client):
    asked = {"model": "idletune", "prompt": "hello bread", "max_tokens": 6}
    whole = client.completions.create(**asked)
    assert whole.choices[0].finish_reason == "length" and whole.usage.completion_tokens == 6
    chunks = list(client.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert web.seen() == 0


def test_openais_package_knows_our_errors(web, client):
    import openai

    def ask(**asked):
        client.chat.completions.create(**{"model": "x", "messages": HELLO, **asked})

    with pytest.raises(openai.BadRequestError, match="tools is not supported") as found:
        ask(tools=[{"type": "function", "function": {"name": "f"}}])
    assert found.value.param == "tools" and found.value.code == "unsupported_parameter"
    with pytest.raises(openai.BadRequestError, match="do not fit the context"):
        ask(messages=[{"role": "user", "content": "x" * 5000}], stream=True)
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


def test_a_conversation_with_openais_package_is_one(web, client):
    messages = []
    for text in ("my door code is 4711", "and butter", "what is it?"):
        messages.append({"role": "user", "content": text})
        answer = client.chat.completions.create(model="x", messages=messages, max_tokens=8)
        messages.append(answer.choices[0].message.to_dict())
    assert web.seen() == 3 and answer.usage.prompt_tokens_details.cached_tokens > 40


def test_llm_with_a_custom_endpoint(web, tmp_path):
    pytest.importorskip("llm")
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: mine\n  model_name: idletune\n  api_base: {web.url}/v1\n  api_key_name: mine\n"
    )
    (tmp_path / "keys.json").write_text(f'{{"mine": "{web.token}"}}')

    def llm(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "llm", *arguments],
            env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    expected = web.chat("and butter", max_tokens=6).json()["choices"][0]["message"]["content"]
    assert llm("-m", "mine", "and butter", "-o", "max_tokens", "6") == expected
    assert llm("-m", "mine", "-c", "and then?", "-o", "max_tokens", "6", "--no-stream")
    assert web.seen() == 2, "the conversation it continued is not observed again"


def test_a_web_chat_from_a_registry(web, monkeypatch):
    """Gradio's chat page for any endpoint of OpenAI's API, spoken to as its own page does."""
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    gradio, gradio_client = pytest.importorskip("gradio"), pytest.importorskip("gradio_client")
    monkeypatch.setattr(gradio.networking, "url_ok", lambda url: True)  # it would give its own server three seconds
    chat = gradio.load_chat(f"{web.url}/v1", model="idletune", token=web.token)
    _, url, _ = chat.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    try:
        page = gradio_client.Client(url, verbose=False, httpx_kwargs={"timeout": 120})
        (name,) = page.view_api(return_format="dict")["named_endpoints"]
        assert page.predict({"text": "and butter", "files": []}, api_name=name)
        assert web.seen() == 1
    finally:
        chat.close()
