"""idletune-fleet, as far as it needs no Flower."""

import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
from idletune.fleet.privacy import epsilon
from idletune_fleet.cli import main
from idletune_fleet.fleet_folder import FleetFolder


def new(path, model, *more):
    named = ["--name", "us", "--operator", "Anna", "--phones", "2", "--rounds", "4"]
    return main(["new", str(path), "--base", str(model), *named, *more])


def test_a_fleet_that_noise_would_drown_is_told_so(tiny_path, tmp_path, capsys):
    new(tmp_path / "few", tiny_path, "--epsilon", "8", "--rounds", "1")  # 64 numbers, z = 0.6: 3.4 norms of two phones
    assert "carry noise of 3.4 clipping norms" in capsys.readouterr().out
    new(tmp_path / "more", tiny_path, "--epsilon", "8", "--rounds", "1", "--phones", "4")
    assert "clipping norms" not in capsys.readouterr().out


def test_a_folder_has_terms_keys_for_its_owner_and_a_certificate_for_the_host(tiny_path, tmp_path, capsys):
    assert new(tmp_path / "f", tiny_path, "--host", "192.168.1.10", "--epsilon", "4", "--rank", "2") == 0
    told = capsys.readouterr().out
    assert "at most 4, at delta 1e-05" in told and "terms.json and" in told
    terms = FleetFolder(tmp_path / "f").terms
    assert terms.rank == 2 and epsilon([terms.noise_multiplier] * 4, 1e-5) == pytest.approx(4, rel=1e-4)
    for name in ("key", "server.key"):
        assert stat.S_IMODE((tmp_path / "f" / name).stat().st_mode) == 0o600
    server = x509.load_pem_x509_certificate((tmp_path / "f" / "server.pem").read_bytes())
    server.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / "f" / "ca.pem").read_bytes()))
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "192.168.1.10" in [str(name) for name in names.get_values_for_type(x509.IPAddress)]
    load_pem_private_key((tmp_path / "f" / "server.key").read_bytes(), None)
    assert new(tmp_path / "f", tiny_path) == 2 and "exists; name a new folder" in capsys.readouterr().err


def test_noise_asks_for_a_small_adapter_unless_another_is_named(tiny_path, tmp_path):
    new(tmp_path / "plain", tiny_path)
    new(tmp_path / "noisy", tiny_path, "--epsilon", "8")
    new(tmp_path / "named", tiny_path, "--epsilon", "8", "--targets", "up", "--clip", "2")
    plain, noisy, named = (FleetFolder(tmp_path / name).terms for name in ("plain", "noisy", "named"))
    assert (plain.rank, plain.targets, plain.clipping_norm) == (16, "gate,up,down", 5.0)
    assert (noisy.rank, noisy.targets, noisy.clipping_norm) == (1, "down", 10.0)
    assert (named.rank, named.targets, named.clipping_norm) == (1, "up", 2.0)


def test_the_app_that_flower_sends_holds_no_key(tiny_path, tmp_path):
    new(tmp_path / "f", tiny_path)
    sent = sorted(path.name for path in (tmp_path / "f" / "app").rglob("*") if path.is_file())
    assert sent == ["__init__.py", "apps.py", "pyproject.toml"]


def test_a_node_has_a_key_of_the_kind_that_flower_takes(tmp_path, capsys):
    assert main(["node-key", str(tmp_path / "ben.key")]) == 0
    key = load_ssh_private_key((tmp_path / "ben.key").read_bytes(), None)
    assert key.curve.name == "secp384r1" and stat.S_IMODE((tmp_path / "ben.key").stat().st_mode) == 0o600
    assert (tmp_path / "ben.key.pub").read_text().startswith("ecdsa-sha2-nistp384 ")
    assert "ben.key stays here" in capsys.readouterr().out
