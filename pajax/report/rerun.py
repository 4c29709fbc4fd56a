"""What it takes to run a study again: its parts, its key, the call, and what computed it."""

import json
import platform
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from pajax.report.sources import Source
from pajax.stages import checkpoints
from pajax.studies import manifest

_DRAWN_WITH = ("scipy", "pandas", "xarray", "matplotlib")


class Rerun(NamedTuple):
    """What was run, and how to do it again."""

    parts: dict[str, dict[str, str]]  # games, agents and mechanisms as text, by name
    call: str  # Python
    computed_with: dict[str, str]
    is_stored: bool
    record: str  # all of it as JSON


def rerun(source: Source) -> Rerun:
    """All that a study and its store say of how it was made."""
    spec = json.loads(source.dataset.attrs["spec"])
    kinds = {"Games": "game", "Agents": "agents", "Mechanisms": "mechanisms"}
    known = {"spec": spec, "computed_with": _computed_with(source)}
    if source.manifest is not None:
        known["entries"] = source.manifest.entries
    return Rerun(
        parts={kind: _named(spec[name]) for kind, name in kinds.items()},
        call=_call(source, spec),
        computed_with=known["computed_with"],
        is_stored=source.manifest is not None,
        record=json.dumps(known, indent=1),
    )


def made_with() -> dict[str, str]:
    """With what a page is made now."""
    others = {name: metadata.version(name) for name in _DRAWN_WITH}
    return manifest.versions() | others | {"system": platform.platform()}


def _named(parts: Any) -> dict[str, str]:
    """Parts as text by name; those that differ between groups of games by both."""
    found: dict[str, str] = {}
    for name, part in ({"": parts} if isinstance(parts, str) else parts).items():
        of_groups = {"": part} if isinstance(part, str) else part
        for group, text in of_groups.items():
            found[f"{name} in {group}" if group else name] = " ".join(text.split())
    return found


def _computed_with(source: Source) -> dict[str, str]:
    """Versions and device of the runs, and of the process that began their store."""
    of_runs = {name: source.dataset.attrs[name] for name in ("device", "pajax", "jax")}
    if source.manifest is None:
        return of_runs
    return source.manifest.versions | of_runs | {"begun": source.manifest.created}


def _call(source: Source, spec: dict[str, Any]) -> str:
    """The call of `pajax.study`."""
    ds, K = source.dataset, spec["num_episodes"]
    record, options = ds["episode"].to_numpy(), []
    if not np.array_equal(record, checkpoints(K)):
        options.append(f"    record={record.tolist()},")
    if source.manifest is not None:
        options.append(f"    store={source.name!r},")
    lines = [
        "import jax, numpy as np, pajax as px",
        "",
        f"key = jax.random.wrap_key_data(np.array({spec['key']}, np.uint32))",
        "dataset = px.study(",
        "    key, game, agents=agents, mechanisms=mechanisms,  # the parts above",
        f"    num_episodes={K:_}, num_seeds={spec['num_seeds']:_}, keep={ds.attrs['keep']!r},",
        *options,
        ")",
    ]
    return "\n".join(lines)
