"""A certificate for localhost, and a door that speaks TLS in front of a server that does not."""

import datetime
import ipaddress
import socket
import ssl
import threading
from pathlib import Path


def certificate(folder: Path) -> None:
    """authority.pem, and localhost.pem and localhost.key that it signs. Wants the package `cryptography`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.timezone.utc)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in ["a company", "localhost"]]
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    for file, key, name, more in [
        ("authority.pem", keys[0], names[0], x509.BasicConstraints(ca=True, path_length=0)),
        ("localhost.pem", keys[1], names[1], x509.SubjectAlternativeName(hosts)),
    ]:
        signed = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(more, critical=isinstance(more, x509.BasicConstraints))
            .sign(keys[0], hashes.SHA256())
        )
        (folder / file).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    private = keys[1].private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "localhost.key").write_bytes(private)


class Door:
    """Listens on localhost with TLS and passes on to `address` (http://HOST:PORT)."""

    def __init__(self, address: str, folder: Path):
        host, port = address.removeprefix("http://").split(":")
        self.behind = (host, int(port))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "localhost.pem", folder / "localhost.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"localhost:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.listener.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=[plain], daemon=True).start()

    def _pass(self, plain: socket.socket) -> None:
        try:
            with self.context.wrap_socket(plain, server_side=True) as front, socket.create_connection(self.behind) as back:
                request = b""
                while b"\r\n\r\n" not in request:
                    more = front.recv(65536)
                    if not more:
                        return
                    request += more
                back.sendall(request)
                while answer := back.recv(1 << 20):
                    front.sendall(answer)
        except OSError:
            # Who does not trust the certificate goes away.
            pass
