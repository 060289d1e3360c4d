"""The processes of a torchrun: what one of them knows, in all of them."""

import os
from typing import Any


def gather(value: Any) -> list:
    """`value` of every process, in the order of their ranks; of one process a list of one."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def from_main_process(value: Any) -> Any:
    """The main process's `value`, in every process."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return value
    from accelerate import PartialState

    PartialState()  # joins the processes
    return gather(value)[0]
