"""The account with Weights & Biases, and its refusals in words that say what to do."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import UserError

PATIENCE = 10
"""Seconds to wait for the server."""


def check_account(otherwise: str = "") -> None:
    """Make sure that the server knows us, before anything rests on it; never asks for a key.

    Args:
        otherwise: what else one can do, for the end of the message.

    Raises:
        UserError: nobody is logged in, the server does not answer, or does not take the key.
    """
    import wandb

    otherwise = f", or {otherwise}" if otherwise else ""
    server = wandb.setup().settings.base_url
    # By ourselves, as the client retries behind our back, and does not say what is wrong.
    if problem := connection_problem(server):
        raise UserError(f"Weights & Biases: {server} does not answer ({problem}); check the network{otherwise}")
    try:
        known = wandb.login(prompt=False, verify=True)
    except wandb.errors.Error as error:
        raise UserError(
            f"Weights & Biases: {server} does not take the key ({first_line(error)}); `wandb login --relogin` or set "
            f"WANDB_API_KEY{otherwise}"
        ) from error
    if not known:
        raise UserError(f"Weights & Biases: no key; `wandb login` or set WANDB_API_KEY{otherwise}")


def connection_problem(server: str) -> str:
    """Why a server cannot be reached; empty if it can."""
    try:
        urllib.request.urlopen(server, timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        pass  # whatever it answers, it is there
    except OSError as error:
        cause = getattr(error, "reason", error)
        if not isinstance(cause, ssl.SSLError):  # the client may have been told to trust it
            return getattr(cause, "strerror", None) or str(cause)
    return ""


@contextmanager
def refusals(what: str, otherwise: str) -> Iterator[None]:
    """Explain what the server refuses in the block.

    Args:
        what: the settings that it is about.
        otherwise: what to do.

    Raises:
        UserError: it refused.
    """
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    try:
        yield
    except (wandb.errors.Error, WandbApiFailedError, ValueError) as error:
        raise UserError(f"{what}: Weights & Biases refuses ({first_line(error)}); {otherwise}") from error


def first_line(error: Exception) -> str:
    """The first line of a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
