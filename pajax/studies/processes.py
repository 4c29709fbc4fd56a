"""The processes of one study, and what they tell each other.

`jax.distributed.initialize` joins processes, on one machine or many. All of them call the same
study. Each computes its own part of the runs (`pajax.studies.work`) on its own devices, and at the
end is told what the others have found. Runs do not depend on each other, so no device waits for
another: processes talk only through the coordinator that joined them. They wait for each other as
long as it takes, and end together: what fails in one, or is interrupted, ends the study in all.

A single process has nobody to talk to, and nothing here does anything.
"""

import contextlib
import itertools
import pickle
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import jax
from jax._src import distributed  # the coordinator has no public name

_T = TypeVar("_T")

#: Seconds between two looks at how the others are.
LOOK_SECONDS = 1.0
#: Bytes of a message, at most; longer values take several.
MESSAGE_BYTES = 2**24

_crews = itertools.count()


@contextlib.contextmanager
def together() -> Iterator["Crew"]:
    """The crew of a study, for a block that all processes enter, and that fails in all or in none.

    JAX ends all processes, and not gently, if one leaves its program while others go on.
    """
    crew = Crew()
    try:
        yield crew
    except BaseException as failure:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # the coordinator may be what failed
            crew.tell(failure)
        raise


class Crew:
    """The processes of one study; all call `share` and `wait` in the same order."""

    def __init__(self) -> None:
        self.number, self.size = jax.process_index(), jax.process_count()
        self._client: Any = distributed.global_state.client
        self._name = f"pajax/{next(_crews)}"
        self._exchanges = itertools.count()
        self._next_look = 0.0

    def share(self, value: _T) -> list[_T]:
        """The values of all processes, in their order.

        Raises:
          KeyboardInterrupt: another process was interrupted.
          RuntimeError: another process failed.
        """
        if self.size == 1:
            return [value]
        exchange = next(self._exchanges)
        self._write(self._place(exchange, self.number), pickle.dumps(value))
        found = [self._read(self._place(exchange, process)) for process in range(self.size)]
        # the others have read what was shared before, or they would not have come to this
        self._client.key_value_delete(self._place(exchange - 1, self.number))
        return [pickle.loads(data) for data in found]  # written by the same program as this

    def wait(self, where: str) -> None:
        """Go on when all processes have come here.

        Raises:
          KeyboardInterrupt: another process was interrupted.
          RuntimeError: another process failed, or has come elsewhere.
        """
        places = self.share(where)
        if set(places) != {where}:
            raise RuntimeError(f"processes of one study must do the same, but are at {places}")

    def look(self) -> None:
        """See how the others are; to be called often.

        Raises:
          KeyboardInterrupt: another process was interrupted.
          RuntimeError: another process failed.
        """
        if self.size == 1 or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        for name, story in self._client.key_value_dir_get(f"{self._name}/failed/"):
            if story == KeyboardInterrupt.__name__:
                raise KeyboardInterrupt
            process = name.rpartition("/")[-1]
            raise RuntimeError(f"process {process} of the study failed: {story}")

    def tell(self, failure: BaseException) -> None:
        """Let the others know that this process has failed."""
        if self.size > 1:
            is_interrupt = isinstance(failure, KeyboardInterrupt)
            story = f"{type(failure).__name__}: {failure}"
            story = KeyboardInterrupt.__name__ if is_interrupt else story
            self._client.key_value_set(f"{self._name}/failed/{self.number}", story)

    def _place(self, exchange: int, process: int) -> str:
        return f"{self._name}/said/{exchange}/{process}"

    def _write(self, place: str, data: bytes) -> None:
        self._client.key_value_set(f"{place}/size", str(len(data)))
        for start in range(0, len(data), MESSAGE_BYTES):
            message = data[start : start + MESSAGE_BYTES]
            self._client.key_value_set_bytes(f"{place}/{start}", message)

    def _read(self, place: str) -> bytes:
        starts = range(0, int(self._message(f"{place}/size")), MESSAGE_BYTES)
        return b"".join(self._message(f"{place}/{start}") for start in starts)

    def _message(self, name: str) -> bytes:
        while True:
            try:
                # again and again, since what waits in there cannot be interrupted
                return self._client.blocking_key_value_get_bytes(name, int(1000 * LOOK_SECONDS))
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise
            self.look()
