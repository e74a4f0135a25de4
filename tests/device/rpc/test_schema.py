import pytest
from idletune.rpc.errors import ERRORS, RpcError
from idletune.rpc.methods import METHODS, document
from idletune.rpc.schema import Field, identifier, number, path, text


@pytest.mark.parametrize(
    "field, value, code",
    [
        (text("t", ""), "hello", None),
        (text("t", ""), "", None),
        (text("t", ""), 5, -32602),
        (text("t", ""), None, -32602),
        (text("t", "", longest=3), "abc", None),
        (text("t", "", longest=3), "abcd", -32006),
        (text("t", ""), "half \ud83d", -32602),
        (text("t", "", choices=("a", "b")), "a", None),
        (text("t", "", choices=("a", "b")), "c", -32602),
        (path("p", ""), "/a/b", None),
        (path("p", ""), "", -32602),
        (path("p", ""), "/a\0b", -32602),
        (identifier("i", ""), 1, None),
        (identifier("i", ""), 0, -32602),
        (identifier("i", ""), 2**63, -32602),
        (identifier("i", ""), 1.0, -32602),
        (identifier("i", ""), True, -32602),
        (number("n", "", least=1, most=2), 1.5, None),
        (number("n", "", least=1, most=2), 2.5, -32602),
        (number("n", "", least=1, most=2), 0, -32602),
        (number("n", ""), float("inf"), -32602),
        (Field("b", "boolean", ""), 1, -32602),
        (Field("b", "boolean", ""), False, None),
        (Field("o", "object", ""), [], -32602),
        (Field("o", "object", "", nullable=True), None, None),
    ],
)
def test_a_value_is_what_is_declared_or_refused_by_name(field, value, code):
    if code is None:
        return field.check(value)
    with pytest.raises(RpcError, match=f"parameter {field.name}") as caught:
        field.check(value)
    assert caught.value.code == code


def test_a_missing_and_an_unknown_parameter_are_named():
    with pytest.raises(RpcError, match="chat needs the parameter text: the user's message"):
        METHODS["chat"].check({})
    with pytest.raises(RpcError, match="chat has no parameter 'txt'; it takes: text, stream"):
        METHODS["chat"].check({"txt": "x"})


def test_the_description_names_every_method_parameter_and_error():
    described = document()
    assert [found["name"] for found in described["methods"]] == list(METHODS)
    chat = next(found for found in described["methods"] if found["name"] == "chat")
    assert chat["params"][0] == {
        "name": "text",
        "required": True,
        "schema": {"type": "string", "description": "the user's message", "maxLength": 65536},
    }
    assert {found["code"] for found in described["x-errors"]} == set(ERRORS)
    assert {*range(-32007, -32000), -32700, *range(-32603, -32599)} == set(ERRORS)
