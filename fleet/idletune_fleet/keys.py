"""Keys that Flower's programs take: the server's certificate with its own authority, and a node's key."""

import ipaddress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from idletune.small_files import write_whole

DAYS = 825  # longest life of a server's certificate that all systems accept
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def make_certificate(folder: Path, host: str) -> None:
    """ca.pem, server.pem and server.key in a folder, for a host name or address; the authority's key is thrown away."""
    authority, server = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    root = _certificate("IdleTune fleet", authority.public_key(), "IdleTune fleet", authority, None)
    leaf = _certificate(host, server.public_key(), "IdleTune fleet", authority, {host, "127.0.0.1", "localhost"})
    write_whole(folder / "ca.pem", root.public_bytes(PEM))
    write_whole(folder / "server.pem", leaf.public_bytes(PEM))
    write_whole(folder / "server.key", _private(server))


def make_node_key(file: Path) -> Path:
    """A key on P-384 as Flower wants it; returns the public key's file."""
    key, public = ec.generate_private_key(ec.SECP384R1()), file.with_name(f"{file.name}.pub")
    ssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    write_whole(file, _private(key, serialization.PrivateFormat.OpenSSH))
    write_whole(public, key.public_key().public_bytes(*ssh) + b"\n")
    return public


def _private(key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat = PKCS8) -> bytes:
    return key.private_bytes(PEM, form, serialization.NoEncryption())


def _certificate(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    hosts: set[str] | None,
) -> x509.Certificate:
    """Of an authority where there are no `hosts`."""
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=hosts is None, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if hosts:
        names = [_alternative(host) for host in sorted(hosts)]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return made.sign(issuer_key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
