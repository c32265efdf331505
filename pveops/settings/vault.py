"""Secrets in HashiCorp Vault's key/value store, version 2. Needs ``pveops[secrets]``."""

from __future__ import annotations

import hvac
import requests

from pveops.base.errors import ConfigError
from pveops.base.secret import Secret


def read_vault(
    url: str, token: Secret, *, mount: str, path: str, namespace: str = "", ca: str = "", timeout_s: float = 5.0
) -> dict[str, str]:
    """All fields of the secret at a mount and path; empty where there is none.

    Raises:
        ConfigError: Vault does not answer, refuses the token, is sealed, or answers something else. What it says is not passed on.
    """
    with requests.Session() as session:
        session.trust_env = False  # no proxy, no other authority than the one that is set
        client = hvac.Client(
            url=url, token=token.reveal(), verify=ca or True, timeout=timeout_s, session=session,
            namespace=namespace or None, allow_redirects=False,
        )  # fmt: skip
        place = f"{mount}/{path}"
        try:
            data = client.secrets.kv.v2.read_secret_version(path=path, mount_point=mount, raise_on_deleted_version=True)["data"]["data"]
        except hvac.exceptions.InvalidPath:
            return {}
        except hvac.exceptions.Forbidden:
            raise ConfigError(
                f"Vault at {url} does not let this token read {place}.", hint="Check its policy, or renew the token."
            ) from None
        except hvac.exceptions.VaultError as err:
            raise ConfigError(f"Vault at {url} cannot be used ({type(err).__name__}).", hint="Is it unsealed and up?") from None
        except requests.RequestException as err:
            raise ConfigError(
                f"Vault at {url} does not answer ({type(err).__name__}).", hint="Check address, certificate and network."
            ) from None
        except (KeyError, TypeError, ValueError):
            raise ConfigError(
                f"{url} does not answer like Vault's key/value store, version 2.", hint=f"Is {place} mounted as kv-v2?"
            ) from None
    return {str(name): str(value) for name, value in data.items()} if isinstance(data, dict) else {}
