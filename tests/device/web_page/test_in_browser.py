"""The page in a real browser, on the real server and the tiny model: what a person does, and what goes wrong."""

import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import WebProcess, chromium, home_that_learns, home_that_offers_two, new_page
from rpc_caller import CHANGED

HOSTILE = '<img src=x onerror="document.title=1"><b>bold</b><script>alert(1)</script>'
HEBREW = "שלום, מה שלומך?"
ANSWERS = 10
NUMBERS = "First", "Second"
PAGES = "Chat", "Kept", "Learning", "Settings"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def ready(tmp_path_factory, tiny_path):
    """The folder of a home with answers that were not learned yet, and its settings."""
    home = tmp_path_factory.mktemp("ready") / "home"
    return home, home_that_learns(home, tiny_path, ANSWERS)


@contextmanager
def served(folder, tiny_path, ready):
    """A server on a copy of that home. It may say whatever it wants, but no traceback."""
    home, settings = ready
    shutil.copytree(home, folder / "home")
    process = WebProcess(folder / "home", tiny_path, settings)
    yield process
    process.close()
    assert "Traceback" not in process.said()


@contextmanager
def opened(browser, address, **options):
    """The page on a phone. Its scripts may complain of nothing."""
    found = new_page(browser, **options)
    found.goto(address)
    found.get_by_role("textbox", name="Message").wait_for()
    yield found
    assert found.complaints == []
    found.context.close()


@pytest.fixture
def web(browser, tmp_path, tiny_path, ready):
    """A server of this test's own."""
    with served(tmp_path, tiny_path, ready) as process:
        yield process


@pytest.fixture
def page(browser, web):
    """Its page, opened by the link."""
    with opened(browser, web.link) as found:
        yield found


@pytest.fixture(scope="module")
def shared(browser, tmp_path_factory, tiny_path, ready):
    """A server for tests that leave it usable, and the browser profile that opened its link."""
    with served(tmp_path_factory.mktemp("shared"), tiny_path, ready) as process:
        with opened(browser, process.link) as first:
            profile = first.context.storage_state()
        yield process, profile


@pytest.fixture
def any_page(browser, shared):
    """A page of the shared server."""
    process, profile = shared
    with opened(browser, process.url, storage_state=profile) as found:
        yield found


def say(page, text: str) -> None:
    """Send a message and wait until it is answered."""
    box = page.get_by_role("textbox", name="Message")
    box.wait_for()
    before = page.get_by_role("article", name="Answer").count()
    box.fill(text)
    page.keyboard.press("Enter")
    page.get_by_role("article", name="Answer").nth(before).get_by_role("button", name="Compare").wait_for()


def go(page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def notice(page, text: str) -> None:
    """Wait until the page has shown a notice with this text, after those that were waited for before."""
    shown = """(text) => {
        const place = noticed.findIndex((each) => each.includes(text));
        return place >= 0 && noticed.splice(0, place + 1).length > 0;
    }"""
    page.wait_for_function(shown, arg=text)


def dialog(page):
    return page.get_by_role("dialog")


def change(page, label: str, value: str) -> None:
    """Change a setting, and wait until it is kept."""
    field = page.get_by_label(label, exact=True)
    field.fill(value)
    with page.expect_response(lambda answer: '"settings"' in (answer.request.post_data or "")):
        field.blur()
    notice(page, "Kept.")


def learn(page) -> None:
    go(page, "Learning")
    page.get_by_role("button", name="Learn now").click()
    notice(page, "It learned something and answers with it now.")


def test_a_whole_life(page):
    say(page, "hello bread")
    page.get_by_role("button", name="Good").click()
    page.get_by_text("Kept as a good answer.").wait_for()

    say(page, "and rye?")
    page.get_by_role("button", name="Better…").click()
    editor = page.get_by_role("textbox", name="The better answer")
    assert editor.input_value().strip()
    editor.fill("aaaa aaaa aaaa")
    page.get_by_role("button", name="Keep this answer").click()
    page.get_by_text("Your answer is kept instead.").wait_for()

    say(page, "what is a bun?")
    page.get_by_role("button", name="New").click()  # the question is no longer about the answer in sight
    due = page.get_by_role("region", name="A question to you").filter(has_text="what is a bun?")
    due.get_by_text(re.compile(r"\d+ of 100 today")).wait_for()
    due.get_by_role("button", name="Good").click()
    due.wait_for(state="detached")

    learn(page)
    history = page.get_by_role("listitem").filter(has_text="It answers you now.")
    assert re.search(r"\d+% less surprised by your answers", history.inner_text())
    assert page.get_by_role("img", name=re.compile("learning 1: \\d+% less surprised")).is_visible()

    go(page, "Chat")
    say(page, "question number 3 about bread")
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("heading", name="With what it learned").wait_for()
    assert not page.get_by_role("region", name="A question to you").count(), "it waits while answers are compared"
    without, learned = (page.locator(f".compare section >> nth={i}").inner_text() for i in (0, 1))
    assert without.split("\n", 1)[1] != learned.split("\n", 1)[1]

    go(page, "Kept")
    page.get_by_role("searchbox").fill("number 7")
    page.get_by_role("button", name="Forget the one found").click()
    dialog(page).get_by_text("learning 1").wait_for()
    dialog(page).get_by_role("button", name="Forget").click()
    notice(page, "Forgotten")
    page.get_by_text("0 exchanges found").wait_for()

    learn(page)
    go(page, "Kept")
    page.get_by_role("button", name="Undo learning").click()
    dialog(page).get_by_text("The model without learning answers").wait_for()
    dialog(page).get_by_role("button", name="Undo").click()
    notice(page, "Undone.")
    go(page, "Learning")
    page.get_by_text("You undid it.").wait_for()


def another(page):
    """Ask for another answer to the last message; the two, when both are written."""
    page.get_by_role("button", name="Another").click()
    both = page.get_by_role("group", name="Two answers, which is better?")
    both.get_by_role("button", name="Second is better").wait_for()
    return both


def focused(page, name: str) -> None:
    """Wait until the button with this name has the focus."""
    page.locator("button:focus", has_text=name).wait_for()


def test_the_better_of_two_answers_is_kept(page):
    say(page, "hello bread")
    both = another(page)
    first, second = (both.get_by_role("region", name=f"{name} answer") for name in NUMBERS)
    (left, right), texts = (
        [each.bounding_box() for each in (first, second)],
        [each.locator(".words").inner_text() for each in (first, second)],
    )
    assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"] and right["x"] + right["width"] <= 360
    assert texts[0] != texts[1]
    page.locator("[role=group]:focus").wait_for()  # it came here from the button that asked for it
    page.keyboard.press("Tab")
    focused(page, "First is better")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("Kept as the better answer.").wait_for()
    assert page.get_by_role("article", name="Answer").locator(".words").inner_text() == texts[1]
    say(page, "and rye?")  # the conversation goes on with it
    another(page).get_by_role("button", name="Neither").click()
    focused(page, "Good")
    go(page, "Kept")
    page.get_by_role("searchbox").fill("hello bread")
    page.get_by_text("1 exchange found").wait_for()
    assert texts[1] in page.get_by_role("listitem").filter(has_text="hello bread").inner_text()


def test_a_question_offers_two_answers(browser, tmp_path, tiny_path):
    """The second one was written in an idle window; one tap says which is better."""
    home = tmp_path / "home"
    settings = home_that_offers_two(home, tiny_path)
    process = WebProcess(home, tiny_path, settings)
    try:
        with opened(browser, process.link) as page:
            due = page.get_by_role("region", name="A question to you")
            due.get_by_text("Which is better?").wait_for()
            texts = [due.get_by_role("region", name=f"{n} answer").locator(".words").inner_text() for n in NUMBERS]
            assert texts[0] == "a reply" and texts[1] != texts[0]
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            due.get_by_role("button", name="Second is better").click()
            due.wait_for(state="detached")
            go(page, "Kept")
            page.get_by_role("button", name="Answered", exact=True).click()
            assert texts[1] in page.get_by_role("listitem").inner_text()
    finally:
        process.close()


def test_a_second_tab_sees_what_the_first_one_does(page, web):
    other = page.context.new_page()
    other.goto(f"{web.url}/#learning")
    other.get_by_role("button", name="Learn now").wait_for()
    say(page, "hello bread")
    learn(page)
    other.get_by_text("It answers you now.").wait_for()
    other.get_by_role("link", name="Kept").click()
    other.get_by_text("hello bread").first.wait_for()


def test_an_answer_and_learning_are_stopped(page, web):
    page.get_by_role("link", name="Settings").click()
    page.get_by_text("All other settings").click()
    change(page, "epochs", "10000")
    go(page, "Learning")
    page.get_by_role("button", name="Learn now").click()
    page.get_by_text(re.compile(r"Learning from your answers, \d+ of")).wait_for()
    page.get_by_role("img", name="Loss of each step so far").wait_for()
    go(page, "Chat")
    page.route("**/v1/chat/completions", lambda route: None)  # held back: the answer is still to come
    page.get_by_role("textbox", name="Message").fill("hello bread")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped; nothing of it is kept.").wait_for()
    page.unroute("**/v1/chat/completions")
    say(page, "hello bread")  # learning steps aside
    go(page, "Learning")
    page.get_by_role("button", name="Stop learning").click()
    notice(page, "Learning was stopped.")
    page.get_by_role("button", name="Go on learning").wait_for()


def test_what_is_never_to_be_asked_about_is_not_kept(any_page):
    page = any_page
    say(page, "where is the spare key?")
    page.get_by_role("button", name="Never ask").click()
    page.get_by_text("Never asked about, and not kept.").wait_for()
    go(page, "Kept")
    page.get_by_role("searchbox").fill("spare key")
    page.get_by_text("0 exchanges found").wait_for()


def test_that_it_did_not_learn_is_told_in_the_pages_words(browser, tmp_path, tiny_path):
    home = tmp_path / "home"
    settings = home_that_learns(home, tiny_path, 6, text="the same long answer to each of them")
    process = WebProcess(home, tiny_path, settings)
    try:
        with opened(browser, process.link) as page:
            go(page, "Learning")
            page.get_by_role("button", name="Learn now").click()
            notice(page, "It did not learn. 1 answered exchanges that differ (6 in all)")
    finally:
        process.close()


def test_an_adapter_that_is_too_good_waits_for_a_look(page):
    go(page, "Settings")
    page.get_by_text("All other settings").click()
    change(page, "suspicious_fall", "0.01")
    go(page, "Learning")
    page.get_by_role("button", name="Learn now").click()
    notice(page, "waits for your look")
    page.get_by_role("heading", name="Learning 1 waits for you").wait_for()
    page.get_by_role("button", name="Let it answer").click()
    page.get_by_text("It answers you now.").wait_for()


def test_learning_goes_on_without_the_page(browser, page, web):
    go(page, "Learning")
    with page.expect_response(lambda answer: '"learn"' in (answer.request.post_data or "")):
        page.get_by_role("button", name="Learn now").click()
    profile = page.context.storage_state()
    page.goto("about:blank")
    with opened(browser, web.url, storage_state=profile) as later:
        go(later, "Learning")
        later.get_by_text("It answers you now.").wait_for()


def test_a_server_that_restarts_in_the_middle(page, web):
    say(page, "hello bread")
    web.stop()
    page.get_by_role("alert").get_by_text("IdleTune does not answer").wait_for()
    web.start()
    page.get_by_role("alert").wait_for(state="detached")
    say(page, "are you there?")  # the link of the new start was not needed: the cookie still holds
    go(page, "Kept")
    page.get_by_text("hello bread").first.wait_for()
    page.complaints.clear()  # the browser's own, about the connection


def test_nobody_gets_in_without_the_link(browser, web):
    stranger = new_page(browser)
    stranger.goto(f"{web.url}/")
    stranger.get_by_role("heading", name="Open the link").wait_for()
    assert stranger.goto(f"{web.url}/open?key=wrong").status == 403
    stranger.goto(web.link)
    stranger.get_by_role("textbox", name="Message").wait_for()
    assert new_page(browser).goto(web.link).status == 403  # it works once


def test_a_foreign_page_reaches_nothing(any_page, shared):
    page, (web, _) = any_page, shared
    foreign = page.context.new_page()  # with the cookie of the page
    foreign.goto(f"http://127.0.0.1:{web.port}/assets/icon.svg")
    foreign.route("http://elsewhere.test/*", lambda route: route.fulfill(body="<h1>elsewhere</h1>"))
    foreign.goto("http://elsewhere.test/")
    erase = """async (url) => {
        const body = JSON.stringify({method: "erase", params: {confirm: "erase"}})
        const options = {method: "POST", credentials: "include", mode: "no-cors", body}
        try { return (await fetch(url, options)).type } catch (error) { return "refused" }
    }"""
    assert foreign.evaluate(erase, f"{web.url}/api/rpc") in ("refused", "opaque")
    framed = "(url) => { const f = document.createElement('iframe'); f.src = url; document.body.append(f); }"
    foreign.evaluate(framed, f"{web.url}/")
    say(page, "still there?")
    assert all(frame.url != f"{web.url}/" or not frame.locator("nav").count() for frame in foreign.frames)


def test_text_is_text_in_the_direction_of_its_script(any_page):
    page = any_page
    say(page, HOSTILE)
    say(page, HEBREW)
    page.get_by_role("article", name="Answer").last.get_by_role("button", name="Better…").click()
    page.get_by_role("textbox", name="The better answer").fill(HOSTILE + HEBREW)
    page.get_by_role("button", name="Keep this answer").click()
    page.get_by_text("Your answer is kept instead.").wait_for()
    go(page, "Kept")
    page.get_by_text(HOSTILE, exact=True).first.wait_for()
    hebrew = page.locator(".question").get_by_text(HEBREW)
    assert hebrew.evaluate("(element) => getComputedStyle(element.closest('[dir]')).direction") == "rtl"
    assert page.title() == "Kept · IdleTune" and page.locator("main img, main b, main script").count() == 0


def test_what_is_kept_is_exported_encrypted_and_erased(page, web, tmp_path):
    go(page, "Settings")
    page.get_by_role("button", name="Export everything").click()
    with page.expect_download() as saved:
        dialog(page).get_by_role("button", name="Save the file").click()
    assert "question number 3 about bread" in Path(saved.value.path()).read_text()
    page.get_by_role("button", name="Encrypt with a key").click()
    dialog(page).get_by_role("button", name="Encrypt").click()
    notice(page, "keep a copy elsewhere")
    page.get_by_text("encrypted. Nothing leaves").wait_for()
    assert (tmp_path / "home.key").is_file()
    page.get_by_role("button", name="Erase everything").click()
    assert dialog(page).get_by_role("button", name="Erase for good").is_disabled()
    dialog(page).get_by_role("textbox").fill("erase")
    dialog(page).get_by_role("button", name="Erase for good").click()
    page.get_by_role("heading", name="Everything is erased").wait_for()
    assert not (tmp_path / "home" / "idletune.db").exists()


def test_a_file_is_imported_after_a_look_and_forgotten_as_a_whole(any_page, tmp_path):
    page, chats = any_page, tmp_path / "mine.jsonl"
    texts = [(f"when is tide {i}?", f"at {i}") for i in range(40)]
    lines = [[{"role": "user", "content": asked}, {"role": "assistant", "content": said}] for asked, said in texts]
    chats.write_text("".join(json.dumps({"messages": line}) + "\n" for line in lines))
    go(page, "Settings")
    page.get_by_label("Choose a file").set_input_files(chats)
    dialog(page).get_by_text("40 new exchanges").wait_for()
    assert dialog(page).get_by_text("when is tide 0?").is_visible()
    dialog(page).get_by_role("button", name="Import 40").click()
    notice(page, "Imported: 40 exchanges read, 40 kept.")
    go(page, "Kept")
    page.get_by_role("searchbox").fill("tide")
    page.get_by_text("40 exchanges found").wait_for()
    page.get_by_role("button", name="Show more (10 left)").click()
    page.get_by_text("asked by a file you imported").nth(39).wait_for()
    go(page, "Settings")
    page.get_by_role("button", name="Forget mine.jsonl").click()
    dialog(page).get_by_text("40 exchanges go for good.").wait_for()
    dialog(page).get_by_role("button", name="Forget").click()
    notice(page, "Forgotten: 40 exchanges.")


def test_a_stranger_chats_answers_learns_compares_and_forgets(browser, tmp_path, tiny_path):
    """With nothing kept and nothing learned, each page says what comes first, and an answer what comes after it."""
    process = WebProcess(tmp_path / "home", tiny_path, {**CHANGED, "seed": 3, "state_source": "sysfs"})
    try:
        with opened(browser, process.link) as page:
            page.get_by_text("Ask it something.").wait_for()
            go(page, "Kept")
            page.get_by_role("link", name="Begin a chat").click()
            for missing in (4, 3, 2, 1, 0):
                say(page, f"question number {missing} about bread")
                page.get_by_role("button", name="Better…").last.click()
                page.get_by_role("textbox", name="The better answer").fill("aaaa aaaa aaaa")
                page.get_by_role("button", name="Keep this answer").click()
                told = "It can learn from your answers now" if not missing else f"{missing} more answer"
                page.locator("small").get_by_text(told).wait_for()
            page.locator("small").get_by_role("link", name="Learning").click()
            page.get_by_role("button", name="Learn now").click()
            notice(page, "Ask it again to see the difference.")
            go(page, "Chat")
            page.get_by_text("learned 5 answers").wait_for()
            page.get_by_role("button", name="Compare").last.click()
            page.get_by_text("Learning 1 took part.").wait_for()
            go(page, "Kept")
            page.get_by_role("button", name="Forget: question number 3").click()
            dialog(page).get_by_text("What it learned from it goes, too").wait_for()
            dialog(page).get_by_role("button", name="Forget").click()
            notice(page, "Forgotten: 1 exchange.")
    finally:
        process.close()


def test_a_long_text_is_cut_where_there_are_many(any_page):
    page, end = any_page, "the end of it"
    say(page, "a long story " * 60 + end)
    go(page, "Kept")
    card = page.get_by_role("listitem").filter(has_text="a long story").first
    assert end not in card.inner_text()
    card.get_by_role("button", name="Show all of it").click()
    assert end in card.inner_text()


def test_focus_goes_back_where_it_was(any_page):
    """So that a keyboard or a screen reader goes on there."""
    page = any_page
    say(page, "and butter?")
    page.get_by_role("button", name="Better…").last.click()
    page.get_by_role("button", name="Cancel").click()
    focused(page, "Good")
    go(page, "Settings")
    page.get_by_role("button", name="Export everything").click()
    dialog(page).wait_for()
    page.keyboard.press("Escape")
    dialog(page).wait_for(state="detached")
    focused(page, "Export everything")


def test_what_learning_takes_is_tried(any_page):
    page = any_page
    go(page, "Settings")
    page.get_by_role("button", name="Try what learning takes").click()
    told = r"To learn from \d+ answers takes (less than a minute|about \d+ minutes), in \d+ stretch(es)?\."
    page.get_by_text(re.compile(told)).wait_for()  # how long depends on what else the machine does


def test_a_wrong_setting_is_refused_in_words(any_page):
    page = any_page
    go(page, "Settings")
    field = page.get_by_label("Longest answer, tokens")
    field.fill("0")
    field.blur()
    notice(page, "at least 1")
    assert field.input_value() == "12"
    page.complaints.clear()  # the browser's own, about the status


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(browser, shared, scheme):
    from axe_playwright_python.sync_playwright import Axe

    process, profile = shared
    with opened(browser, process.url, storage_state=profile, color_scheme=scheme) as page:
        say(page, "hello bread")
        another(page)
        for name in PAGES:
            go(page, name)
            page.get_by_role("heading", level=1).wait_for()
            page.wait_for_timeout(300)  # what the page reads from the server
            found = Axe().run(page).response["violations"]
            assert [f"{name}: {fault['help']} {[node['html'] for node in fault['nodes']]}" for fault in found] == []


def test_nothing_is_wider_than_a_phone(any_page):
    page = any_page
    say(page, "x" * 500)
    another(page)
    for name in PAGES:
        go(page, name)
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name


def test_the_page_is_small_and_asks_nobody_else(browser, shared):
    web, profile = shared
    found = new_page(browser, storage_state=profile)
    answers = []
    found.on("response", lambda response: answers.append((response.url, response.request.sizes())))
    found.goto(web.url)
    found.get_by_role("textbox", name="Message").wait_for()
    found.context.close()
    assert all(url.startswith(web.url) for url, _ in answers)
    assert sum(sizes["responseBodySize"] + sizes["responseHeadersSize"] for _, sizes in answers) < 150_000
