"""Which part of a sweep a job of an array computes: from the command line, or as the scheduler tells its jobs."""

import re
from collections.abc import Mapping

Shard = tuple[int, int]

# What each scheduler calls the number of a job within its array; Slurm alone says how many there are.
SLURM, PBS = "SLURM_ARRAY_TASK_ID", ("PBS_ARRAY_INDEX", "PBS_ARRAYID")
WHOLE = "--shard 0/1 computes the whole"


def shard(given: str | None, environment: Mapping[str, str]) -> tuple[Shard, str] | None:
    """(i, n) and who says so; None where nobody speaks of parts.

    Arguments:
        given: "3/16", the part 3 of 16, counted from 0; "/16", where the scheduler knows which; or None.
        environment: of the process.

    Raises:
        ValueError: for what is neither, and for arrays whose jobs do not follow evenly, or are not counted.
    """
    if given is None:
        return _of_slurm(environment) or _of_pbs(environment, None)
    found = re.fullmatch(r"(\d{0,9})/(\d{1,9})", given.strip())
    if found is None:
        raise ValueError(
            f"--shard = {given!r} must be such as 3/16: the part 3 of 16, counted from 0; or /16 in an array"
        )
    if found[1]:
        return _checked(int(found[1]), int(found[2]), f"--shard = {given!r}"), f"--shard {given}"
    told = _of_slurm(environment) or _of_pbs(environment, int(found[2]))
    if told is None:
        raise ValueError(
            f"--shard = {given!r} leaves the part to a scheduler, and none tells it; write 0{given.strip()}"
        )
    (_, n), who = told
    if n != int(found[2]):
        raise ValueError(f"--shard = {given!r} is of {found[2]} parts, and {who} of {n}; pass one of them")
    return told


def _of_slurm(environment: Mapping[str, str]) -> tuple[Shard, str] | None:
    if SLURM not in environment:
        return None
    number = _number(environment, SLURM)
    told = {name: f"SLURM_ARRAY_TASK_{name}" for name in ("COUNT", "MIN", "MAX", "STEP")}
    if missing := [variable for variable in told.values() if variable not in environment]:
        raise ValueError(
            f"{SLURM} = {number}, and {missing[0]} is not set; pass --shard, such as --shard 3/16; {WHOLE}"
        )
    count, least, most, step = (_number(environment, variable) for variable in told.values())
    if step < 1 or (most - least) // step + 1 != count or number < least or (number - least) % step:
        raise ValueError(
            f"{SLURM} = {number} is of an array of {count} jobs from {least} to {most}, which do not follow evenly; "
            f"pass --shard, such as --shard ${SLURM}/16; {WHOLE}"
        )
    return _checked((number - least) // step, count, f"{SLURM} = {number}"), SLURM


def _of_pbs(environment: Mapping[str, str], count: int | None) -> tuple[Shard, str] | None:
    for name in PBS:
        if name in environment:
            number = _number(environment, name)
            if count is None:
                raise ValueError(
                    f"{name} = {number}, and PBS does not tell of how many; pass --shard /16 for an array of 16 jobs "
                    f"from 0 to 15; {WHOLE}"
                )
            return _checked(number, count, f"{name} = {number}"), name
    return None


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError(f"{name} = {text[:40]!r} is no whole number; pass --shard, such as --shard 3/16; {WHOLE}")
    return int(text)


def _checked(i: int, n: int, what: str) -> Shard:
    if not i < n:
        raise ValueError(f"{what} must be below {n}: parts are counted from 0, and so must be the jobs of an array")
    return i, n
