"""A certificate authority, and what it signs: what servers of the tests show, and what clients verify them with."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LIFE = timedelta(days=2)
_NO_USAGE = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "encipher_only",
    "decipher_only",
)


class Authority:
    """Writes NAME.crt and NAME.key below a folder; its own certificate is ``authority.crt``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority")
        rights = x509.BasicConstraints(ca=True, path_length=None)
        usage = x509.KeyUsage(key_cert_sign=True, crl_sign=True, **dict.fromkeys(_NO_USAGE, False))
        self._write("authority", self._key, self._sign(self._name, self._key, (rights, usage)))

    def issue(self, file: str, name: str, organization: str = "", addresses: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> None:
        """Write a certificate for ``name``, who is of ``organization`` and answers at ``addresses`` and ``names``."""
        key = ec.generate_private_key(ec.SECP256R1())
        known = (*(x509.IPAddress(ipaddress.ip_address(one)) for one in addresses), *(x509.DNSName(one) for one in names))
        extensions = (x509.SubjectAlternativeName(known),) if known else ()
        self._write(file, key, self._sign(_name(name, organization), key, extensions))

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, extensions: tuple[x509.ExtensionType, ...]) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number(), now - _LIFE, now + _LIFE)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())  # Python 3.13 insists on both
        for extension in (*extensions, signer, x509.SubjectKeyIdentifier.from_public_key(key.public_key())):
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage))
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (self._folder / f"{file}.key").write_bytes(private)
        (self._folder / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _name(name: str, organization: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)
