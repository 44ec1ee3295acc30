"""Cluster presets: what a cluster wants to be told, in ``slurm/clusters/NAME.yaml`` or any yaml file.

All keys but ``executor``, ``max_timeouts`` and ``sbatch`` are flags of ``tools/launch.py`` too (``environment`` is
``--env``), and the flag wins.
"""

import dataclasses
import re
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from pretrain.common.errors import UserError, nearest
from pretrain.common.settings import Count, PositiveFloat, PositiveInt, read, settings

FOLDER = Path(__file__).parent / "clusters"
SEXAGESIMAL = re.compile(r"[-+]?\d[\d_]*(:\d+)+(\.[\d_]*)?$")


@settings
class Preset:
    """One cluster. ``slurm/clusters/example.yaml`` explains every key; None leaves the choice to the cluster.

    time: minutes. memory: GB of a node. signal_delay: seconds before the time limit at which a job is told to continue
    in another turn. max_timeouts: such turns. max_retries: new starts after a crash or a lost node.
    tflops: 10^12 floating-point operations that a GPU does in a second in practice, for estimates.
    """

    executor: Literal["slurm", "local"] = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: PositiveInt = 1440
    memory: PositiveFloat | None = None
    cpus_per_task: PositiveInt | None = None
    gpus_per_node: Count = 1
    gres: str | None = None
    array_parallelism: PositiveInt = 256
    exclude: str | None = None
    comment: str | None = None
    dependency: str | None = None
    signal_delay: Count = 120
    max_timeouts: Count = 100
    max_retries: Count = 3
    setup: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    sbatch: dict[str, str | int | bool] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    data: dict[str, str] = field(default_factory=dict)
    tflops: PositiveFloat = 10.0


def list_presets() -> list[str]:
    """Names of the presets that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_preset(name: str, flags: dict[str, Any] | None = None) -> Preset:
    """The preset ``name`` (of ``list_presets`` or a path ending in .yaml) with ``flags`` that are not None over it.

    Errors: UserError for an unknown preset or key, or a value of the wrong kind, naming the nearest.
    """
    import yaml

    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"no cluster preset '{name}'{nearest(name, list_presets())} (or a path to a .yaml file)")
    try:
        values = yaml.load(path.read_text(), plain_loader()) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no valid yaml: {' '.join(str(error).split())[:160]}") from None
    if isinstance(values, dict) and "time" in values:
        values["time"] = minutes(values["time"])
    preset = read(Preset, values, str(path))
    flags = {key: value for key, value in (flags or {}).items() if value is not None}
    for key in ("data", "environment"):  # of several values those that a flag says
        if key in flags:
            flags[key] = {**getattr(preset, key), **flags[key]}
    preset = read(Preset, dataclasses.asdict(preset) | flags, str(path))
    # jobs and later launches start elsewhere
    data = {key: str(Path(folder).absolute()) for key, folder in preset.data.items()}
    preset = dataclasses.replace(preset, data=data)
    if preset.executor == "slurm" and preset.signal_delay >= preset.time * 60:
        raise UserError(
            f"signal_delay is {preset.signal_delay} s, which leaves nothing of the {preset.time} minutes of time"
        )
    return preset


def plain_loader() -> type:
    """yaml's safe loader, to which ``12:00:00`` is a text: YAML 1.1 makes the sexagesimal number 43200 of it."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    texts = ("tag:yaml.org,2002:str", SEXAGESIMAL)
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    Loader.yaml_implicit_resolvers = {first: [texts, *found] for first, found in resolvers.items()}
    return Loader


def minutes(text: str | int) -> int:
    """Minutes of a time as SLURM writes it: ``90``, ``1:30:00``, ``2-12``, ``1-00:00:00``. UserError for others."""
    match = re.fullmatch(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})", str(text))
    if not match:
        raise UserError(f"'{text}' is no time; expected minutes, hours:minutes:seconds or days-hours, e.g. 1-12:00:00")
    parts = [int(part) for part in match["parts"].split(":")]
    if match["days"] is not None:
        hours, mins, seconds = (*parts, 0, 0)[:3]
        return int(match["days"]) * 1440 + hours * 60 + mins + (seconds > 0)
    if len(parts) == 3:
        return parts[0] * 60 + parts[1] + (parts[2] > 0)
    return parts[0] + (len(parts) == 2 and parts[1] > 0)
