"""Who may speak to the server: Host, Origin, token, cookie, link."""

import stat

import pytest
from idletune.errors import UsageError
from idletune.state.home import WEB_TOKEN
from idletune.web.access import Access
from idletune.web.server import WebServer, bound
from idletune.web.token_file import read_or_make_token
from starlette.datastructures import Headers

CHAT = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "192.168.1.5", "", "[::2]"]
)
def test_a_name_that_points_here_is_refused(shared, host):
    """DNS rebinding: the attacker's page has our address under the attacker's name."""
    answer = shared.program.get("/v1/models", headers={"host": host})
    assert answer.status_code in (400, 403) and shared.url not in answer.text
    assert shared.client().get("/", headers={"host": host}).status_code in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.9:1", "[::1]:8377"])
def test_this_machines_own_names_are_taken(shared, host):
    assert shared.program.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", "https://{host}", ""])
def test_a_page_of_another_origin_is_refused(shared, origin):
    """Also one on another port of this machine, which is of the same site: cookies are sent with its requests."""
    origin = origin.format(host=shared.url.removeprefix("http://"))
    for client in (shared.page(), shared.program):
        assert client.post("/v1/chat/completions", json=CHAT, headers={"origin": origin}).status_code == 403
        assert client.get("/api/events", headers={"origin": origin}).status_code == 403
        assert client.options("/v1/models", headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_foreign_page_lets_the_browser_load_is_refused(shared, site):
    told = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    page = shared.page()
    assert page.get("/v1/models", headers=told).status_code == 403
    assert page.get("/", headers=told).status_code == 403
    assert page.get("/v1/models", headers={**told, "sec-fetch-mode": "navigate"}).status_code == 403
    assert page.get("/", headers={**told, "sec-fetch-mode": "navigate"}).status_code != 403  # a link to the page


def test_the_page_itself_may(shared):
    own = {"origin": shared.url, "sec-fetch-site": "same-origin"}
    assert shared.page().post("/api/rpc", json={"method": "version"}, headers=own).status_code == 200


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic {token}", "Bearer {token}x", "{token}"])
@pytest.mark.parametrize("path", ["/v1/models", "/api/events", "/v1/nothing", "/api/nothing"])
def test_without_the_token_nothing_is_answered(shared, authorization, path):
    answer = shared.client(authorization=authorization.format(token=shared.token)).get(path)
    assert answer.status_code == 401 and shared.token not in answer.text
    kind = answer.json()["error"]
    assert kind["code"] == "invalid_api_key" if path.startswith("/v1") else kind["data"]["kind"] == "invalid_api_key"


def test_a_link_opens_the_page_once(shared):
    link = shared.server.new_link()
    browser = shared.client()
    opened = browser.get(link)
    place, key = opened.headers["location"].split("#key=")
    cookie = opened.headers["set-cookie"]
    assert opened.status_code == 303 and place == "/"
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and shared.token not in cookie + key
    own = {"x-idletune-page": key}
    assert browser.post("/api/rpc", json={"method": "version"}, headers=own).status_code == 200
    assert shared.client(**own).post("/api/rpc", json={"method": "version"}).status_code == 401
    again = shared.client()
    assert again.get(link).status_code == 403 and "set-cookie" not in again.get(link).headers
    assert again.post("/api/rpc", json={"method": "version"}).status_code == 401


def test_a_cookie_alone_lets_nobody_in(shared):
    """Browsers send it to every port of the host, so any other server on this machine may have got it."""
    page = shared.page()
    assert page.get("/v1/models").status_code == 200
    key = page.headers.pop("x-idletune-page")
    assert page.get("/v1/models").status_code == 401
    assert page.get("/v1/models", headers={"x-idletune-page": key[::-1]}).status_code == 401
    assert page.get(f"/v1/models?page={key}").status_code == 200


def test_a_new_link_ends_the_one_before(shared):
    first, second = shared.server.new_link(), shared.server.new_link()
    assert shared.client().get(first).status_code == 403 and shared.client().get(second).status_code == 303
    assert shared.client().get(shared.url + "/open?key=").status_code == 403


def test_what_only_looks_at_a_link_does_not_use_it(shared):
    link = shared.server.new_link()
    assert "set-cookie" not in shared.client().head(link).headers
    assert "set-cookie" not in shared.client().get(link, headers={"sec-purpose": "prefetch"}).headers
    assert shared.client().get(link).status_code == 303


def test_a_wrong_cookie_lets_nobody_in(shared):
    name = shared.server.access.cookie
    for value in ("", "x", shared.token, "é"):
        assert shared.client(cookie=f"{name}={value}".encode()).get("/v1/models").status_code == 401


def test_every_response_has_the_policy(shared):
    answers = [shared.program.get("/v1/models"), shared.client().get("/v1/models"), shared.client().get("/nothing")]
    answers.append(shared.client().get("/", headers={"host": "evil.example"}))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
    assert answers[0].headers["cache-control"] == "no-store"


def test_the_token_lies_in_a_file_of_its_owner(tmp_path):
    token = read_or_make_token(tmp_path / "home")
    path = tmp_path / "home" / WEB_TOKEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and len(token) >= 43
    assert read_or_make_token(tmp_path / "home") == token
    path.chmod(0o640)
    with pytest.raises(UsageError, match="mode 0640, others may have read it"):
        read_or_make_token(tmp_path / "home")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot read"):
        read_or_make_token(tmp_path / "home")
    path.unlink()
    path.write_text("short")
    path.chmod(0o600)
    with pytest.raises(UsageError, match="holds no token"):
        read_or_make_token(tmp_path / "home")


def test_other_addresses_are_taken_where_others_may_connect():
    open_to_others, closed = Access("t", 1, loopback_only=False), Access("t", 1)
    asked = Headers({"host": "192.168.1.5:1"})
    assert open_to_others.foreign(asked, False) is None and closed.foreign(asked, False)
    assert open_to_others.foreign(Headers({"host": "evil.example"}), False)


def test_only_this_machine_is_listened_to(shared):
    assert shared.server.address == "127.0.0.1"
    with pytest.raises(UsageError, match="choose another with --port"):
        bound("127.0.0.1", shared.server.port)
    for odd in ("localhost", "", "300.1.1.1"):
        with pytest.raises(UsageError, match="no IP address"):
            WebServer(shared.door, shared.token, odd)
