"""Joining a Ray cluster; Ray is optional (`pip install -e .[cluster]`) and never needed on one machine."""

from __future__ import annotations

from .config import PneumoniaError

try:
    import ray
except ImportError:  # optional
    ray = None


def connect(address: str) -> None:
    """Join the cluster at `address`; "auto": the one that this machine belongs to, else one of its own.

    Raises: PneumoniaError naming the remedy when Ray is missing or no cluster answers.
    """
    if ray is None:
        raise PneumoniaError("--cluster: Ray is not installed; run `pip install -e .[cluster]`, or leave it out")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == "auto":
            try:
                ray.init("auto", **quiet)
            except ConnectionError:
                ray.init("local", include_dashboard=False, **quiet)
        else:
            ray.init(address, **quiet)
    except Exception as error:  # Ray raises a bare one where a node does not start in time
        reason = str(error).splitlines()[0]
        raise PneumoniaError(
            f"--cluster {address}: no cluster answers ({reason}); start one with `ray start`"
        ) from error
