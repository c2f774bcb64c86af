"""Which lane runs which tests: all are to end at about the same time."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# What is expected of a boot, and of a test that has not been timed yet.
BOOT_SECONDS = 25.0
TEST_SECONDS = 15.0


@dataclass(frozen=True)
class Story:
    """Tests that each take a boot of their own, one after the other, on the same disks."""

    name: str
    steps: list[str] = field(default_factory=list)


@dataclass
class Share:
    """What one lane is to do: tests in one boot, then stories, the longest first."""

    tests: list[str] = field(default_factory=list)
    stories: list[Story] = field(default_factory=list)
    seconds: float = BOOT_SECONDS


def deal(names: list[str], last_seconds: Mapping[str, float], lanes: int) -> list[Share]:
    """Hand out everything, longest first, always to the lane that has least to do so far.

    Where nothing is known of any test, this deals the stories by their steps and the tests in turns.
    """

    def expected(work: str | Story) -> float:
        if isinstance(work, Story):
            return sum(BOOT_SECONDS + expected(step) for step in work.steps)
        return last_seconds.get(work, TEST_SECONDS)

    shares = [Share() for _ in range(lanes)]
    for work in sorted(_works(names), key=expected, reverse=True):
        share = min(shares, key=lambda share: share.seconds)
        share.seconds += expected(work)
        if isinstance(work, Story):
            share.stories.append(work)
        else:
            share.tests.append(work)
    return shares


def _works(names: list[str]) -> list[str | Story]:
    tests: list[str | Story] = []
    stories: dict[str, Story] = {}
    for name in sorted(names):
        match name.split("::"):
            case ["boots", story, _, *_]:
                key = f"boots::{story}"
                stories.setdefault(key, Story(key)).steps.append(name)
            case _:
                tests.append(name)
    return [*stories.values(), *tests]
