"""The chain of secrets, with real files, a real keyring back end on disk, and an HTTP server that speaks Vault's KV v2 API."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import keyring
import keyring.backend
import keyring.backends.fail
import pytest

from pveops.base.errors import ConfigError
from pveops.base.secret import Secret
from pveops.settings.home import Home
from pveops.settings.profile import resolve
from pveops.settings.secrets import SERVICE, Chain, SecretsOptions, Wanted

CANARY = "reader@pve!ui=00000000-0000-4000-8000-0000000canary"
WANTED = Wanted(name="home-read-token", what="the read token", variable="PVEOPS_READ_TOKEN", file="read.token")
NO_FILE = Wanted(name="home-read-token", what="the read token", variable="PVEOPS_READ_TOKEN")


class FileKeyring(keyring.backend.KeyringBackend):
    """A back end that keeps its entries in a file, as servers' do."""

    priority = 1

    def __init__(self, path):
        super().__init__()
        self.path = path

    def _all(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def get_password(self, service, username):
        return self._all().get(f"{service}/{username}")

    def set_password(self, service, username, password):
        self.path.write_text(json.dumps(self._all() | {f"{service}/{username}": password}))


class Locked(FileKeyring):
    def get_password(self, service, username):
        raise keyring.errors.KeyringLocked(f"cannot unlock {CANARY}")

    set_password = get_password


class Unsure(FileKeyring):
    @property
    def priority(self):
        raise RuntimeError("no bus")


@pytest.fixture(autouse=True)
def headless():
    """A server without a keyring, unless a test brings one."""
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    yield
    keyring.set_keyring(before)


def chain(tmp_path, env=(), **options):
    return Chain(tmp_path, dict(env), SecretsOptions(**options))


def test_the_first_place_that_has_it_wins_and_is_named(tmp_path):
    ring = FileKeyring(tmp_path / "ring.json")
    keyring.set_keyring(ring)
    ring.set_password(SERVICE, "home-read-token", "from-keyring")
    (tmp_path / "read.token").write_text("from-file\n")
    (tmp_path / "read.token").chmod(0o600)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "pveops-home-read-token").write_text("from-systemd\n")
    env = {"PVEOPS_READ_TOKEN": "from-environment", "CREDENTIALS_DIRECTORY": str(credentials)}

    def answer(wanted=WANTED):
        found = chain(tmp_path, env).get(wanted)
        return found.secret.reveal(), found.source

    assert answer() == ("from-environment", "environment (PVEOPS_READ_TOKEN)")
    del env["PVEOPS_READ_TOKEN"]
    assert answer() == ("from-systemd", "systemd (pveops-home-read-token)")
    (credentials / "pveops-home-read-token").unlink()
    assert answer() == ("from-file", f"file ({tmp_path}/read.token)")
    assert answer(NO_FILE) == ("from-keyring", f"keyring (home-read-token in {ring.name})")
    told = chain(tmp_path, env).tell(WANTED)
    assert [(one.source, one.has) for one in told] == [
        ("environment", False), ("systemd", False), ("file", True), ("keyring", True), ("vault", False)
    ]  # fmt: skip


def test_nothing_anywhere_tells_where_was_looked(tmp_path):
    with pytest.raises(ConfigError, match="There is no read token") as missing:
        chain(tmp_path).get(NO_FILE)
    assert missing.value.message == "There is no read token."
    for place in ("PVEOPS_READ_TOKEN is not set", "no credentials were passed", "none is named", "none on this machine", "not set up"):
        assert place in missing.value.hint
    assert "has no variable" in chain(tmp_path).tell(Wanted(name="x", what="x"))[0].said


def test_a_file_that_was_named_and_is_open_to_others_stops_the_search(tmp_path):
    (tmp_path / "read.token").write_text("from-file\n")
    (tmp_path / "read.token").chmod(0o644)
    with pytest.raises(ConfigError, match="others may read it"):
        chain(tmp_path).get(WANTED)
    assert "others may read it" in chain(tmp_path).tell(WANTED)[2].said


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), (b"\xff\xfe", "Cannot read")])
def test_a_credential_of_systemd_that_is_broken(tmp_path, content, said):
    (tmp_path / "pveops-home-read-token").write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        chain(tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).get(WANTED)


def test_keyrings_that_do_not_work_are_told_without_what_they_say(tmp_path, monkeypatch):
    keyring.set_keyring(Locked(tmp_path / "ring"))
    with pytest.raises(ConfigError, match="There is no read token") as missing:
        chain(tmp_path).get(NO_FILE)
    assert "does not answer (KeyringLocked)" in missing.value.hint
    assert "canary" not in str(missing.value)
    with pytest.raises(ConfigError, match="did not take"):
        chain(tmp_path).keep(NO_FILE, Secret(CANARY))
    monkeypatch.setattr(keyring, "get_keyring", lambda: Unsure(tmp_path / "ring"))
    assert "does not work here (RuntimeError)" in chain(tmp_path).tell(NO_FILE)[3].said
    monkeypatch.undo()
    assert "switched off" in chain(tmp_path, keyring=False).tell(NO_FILE)[3].said
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    assert "not installed" in chain(tmp_path).tell(NO_FILE)[3].said
    with pytest.raises(ConfigError, match="There is no keyring"):
        chain(tmp_path).keep(NO_FILE, Secret(CANARY))


def test_a_secret_can_be_kept_in_a_keyring(tmp_path):
    keyring.set_keyring(FileKeyring(tmp_path / "ring"))
    assert chain(tmp_path).keep(NO_FILE, Secret(CANARY)).endswith("FileKeyring")
    assert chain(tmp_path).get(NO_FILE).secret.reveal() == CANARY
    assert "no home-write-token" in chain(tmp_path).tell(Wanted(name="home-write-token", what="x"))[3].said


class Vault(BaseHTTPRequestHandler):
    """The part of Vault's HTTP API that reads a secret of the KV engine, version 2."""

    token, mode, asked = "hvs.right", "fine", []

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("X-Vault-Namespace")))
        if self.headers.get("X-Vault-Token") != self.token:
            return self.say(403, {"errors": ["permission denied"]})
        if self.mode == "sealed":
            return self.say(503, {"errors": ["Vault is sealed"]})
        if self.mode == "other":
            return self.say(200, {"hello": "world"})
        if self.mode == "text":
            return self.say(200, {"data": {"data": "text"}})
        if self.path != "/v1/secret/data/pveops":
            return self.say(404, {"errors": []})
        return self.say(200, {"data": {"data": {"home-read-token": CANARY}, "metadata": {"version": 3}}})

    def say(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def vault():
    handler = type("OneVault", (Vault,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_vault(tmp_path, vault):
    env = {"VAULT_TOKEN": "hvs.right"}
    found = chain(tmp_path, env, vault_url=vault.url, vault_namespace="ops").get(NO_FILE)
    assert (found.secret.reveal(), found.source) == (CANARY, "vault (home-read-token in secret/pveops)")
    assert vault.asked == [("/v1/secret/data/pveops", "ops")]
    assert chain(tmp_path, env | {"VAULT_ADDR": vault.url}).get(NO_FILE).secret.reveal() == CANARY
    (tmp_path / "vault.token").write_text("hvs.right\n")
    (tmp_path / "vault.token").chmod(0o600)
    assert chain(tmp_path, vault_url=vault.url, vault_token_file="vault.token", vault_ca="ca.pem").get(NO_FILE).secret.reveal() == CANARY
    assert "no other in secret/pveops" in chain(tmp_path, env, vault_url=vault.url).tell(Wanted(name="other", what="x"))[4].said
    assert "no home-read-token in secret/none" in chain(tmp_path, env, vault_url=vault.url, vault_path="none").tell(NO_FILE)[4].said


@pytest.mark.parametrize(
    ("mode", "token", "said"),
    [
        ("fine", "hvs.wrong", "does not let this token read"), ("sealed", "hvs.right", "cannot be used"), ("other", "hvs.right", "does not answer like"),
        ("fine", "", "no token for it"),
    ],
)  # fmt: skip
def test_a_vault_that_was_set_up_and_does_not_work_stops_the_search(tmp_path, vault, mode, token, said):
    vault.mode = mode
    with pytest.raises(ConfigError, match=said) as refused:
        chain(tmp_path, {"VAULT_TOKEN": token}, vault_url=vault.url).get(NO_FILE)
    assert "hvs." not in str(refused.value)
    vault.mode = "text"
    assert "no home-read-token" in chain(tmp_path, {"VAULT_TOKEN": "hvs.right"}, vault_url=vault.url).tell(NO_FILE)[4].said


def test_a_vault_that_is_not_there(tmp_path, monkeypatch):
    env = {"VAULT_TOKEN": "hvs.right"}
    with pytest.raises(ConfigError, match="does not answer"):
        chain(tmp_path, env, vault_url="http://127.0.0.1:1", vault_timeout_s=1).get(NO_FILE)
    monkeypatch.setitem(__import__("sys").modules, "pveops.settings.vault", None)
    with pytest.raises(ConfigError, match="its client is not installed"):
        chain(tmp_path, env, vault_url="http://127.0.0.1:1").get(NO_FILE)


def test_a_profile_asks_the_chain(tmp_path):
    ring = FileKeyring(tmp_path / "ring")
    keyring.set_keyring(ring)
    home = Home(tmp_path / "home").make()
    home.config.write_text('[profiles.home]\nurls = ["https://127.0.0.1:1"]\n')
    target = resolve(None, home, {})
    with pytest.raises(ConfigError, match=r"Profile home has no write token\. .*write_token_file"):
        target.write_token()
    ring.set_password(SERVICE, "home-write-token", CANARY)
    assert target.write_token().reveal() == CANARY
    home.config.write_text(home.config.read_text() + "[secrets]\nkeyring = false\n")
    with pytest.raises(ConfigError):
        resolve(None, home, {}).write_token()
    ring.set_password(SERVICE, "home-write-token", "not a token")
    with pytest.raises(ConfigError, match=r"The token in keyring \(home-write-token in .*FileKeyring\) has not the form"):
        target.write_token()
