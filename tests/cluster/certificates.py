"""An authority for one cluster, and the certificates that it signs."""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAYS = 30


class Authority:
    """Signs certificates and writes them with their keys into a folder.

    Attributes:
        certificate: The authority's own certificate.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(mode=0o700)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("pocketkube-test", None)
        signed = self._sign(self._key.public_key(), self._name, [], authority=True)
        self.certificate, _ = self._write("ca", signed, self._key)

    def issue(
        self, file: str, name: str, organisation: str | None = None, hosts: Sequence[str] = ()
    ) -> tuple[Path, Path]:
        """Makes a key and its certificate.

        Args:
            file: What the two files are called.
            name: Whose it is: the user's name to Kubernetes.
            organisation: The group, to Kubernetes.
            hosts: Names and addresses at which a server has it.

        Returns:
            The certificate's file and the key's.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        signed = self._sign(key.public_key(), _name(name, organisation), hosts)
        return self._write(file, signed, key)

    def key_pair(self, file: str) -> tuple[Path, Path]:
        """Makes a public and a private key, for signing service accounts' tokens."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return self._save(f"{file}.pub", public), self._save(f"{file}.key", _private(key))

    def _sign(
        self,
        key: ec.EllipticCurvePublicKey,
        name: x509.Name,
        hosts: Sequence[str],
        *,
        authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=_DAYS))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())

    def _write(
        self, file: str, signed: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> tuple[Path, Path]:
        certificate = signed.public_bytes(serialization.Encoding.PEM)
        return self._save(f"{file}.crt", certificate), self._save(f"{file}.key", _private(key))

    def _save(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(name: str, organisation: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organisation:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
