"""Encrypted connections between the hosts of one workspace: its certificate is the password.

The certificate and its key lie in the workspace's folder, which every host of its pool sees and
only its user can read. Both ends of a connection show it and accept nothing else, so that whoever
cannot read the folder cannot connect, and no authority has to sign anything.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from workbench.core.disk import write_private

_FILE = "tls.pem"  # of a workspace: certificate and key
_NAME = "nlp-workbench"


def certificate_file(root: Path) -> Path:
    """Return where a workspace's certificate is, after making one if there is none."""
    path = root / _FILE
    if not path.exists():
        write_private(path, _new_certificate())
    return path


def server_context(root: Path) -> ssl.SSLContext:
    """Return the context of who is connected to.

    Raises:
        OSError: the workspace has no certificate.
    """
    return _context(root, ssl.PROTOCOL_TLS_SERVER)


def client_context(root: Path) -> ssl.SSLContext:
    """Return the context of who connects.

    Raises:
        OSError: the workspace has no certificate.
    """
    return _context(root, ssl.PROTOCOL_TLS_CLIENT)


def _context(root: Path, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the certificate itself is what is known, not the host's name
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(root / _FILE)
    context.load_cert_chain(root / _FILE)
    return context


def _new_certificate() -> str:
    """Return a certificate that signs itself, and its key, as PEM.

    It has no end (RFC 5280, 4.1.2.5): it is replaced together with its workspace.
    """
    from datetime import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2000, 1, 1))
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode() + private.decode()
