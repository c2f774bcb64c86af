"""What Rust's test programs print: which tests passed, which failed, and how long each took."""

import re
import time
from collections.abc import Callable

COLOURS = re.compile(r"\033\[[0-9;]*m")
BEGIN = re.compile(r"running \d+ tests?")
TEST = re.compile(r"test (.+?)(?: - should panic)? \.\.\. ?")
END = re.compile(r"test result: \w+\. (\d+) passed; (\d+) failed")


class Reader:
    """Reads along. With one test at a time, the name is printed first and the result after it."""

    def __init__(self, on_failure: Callable[[str], None]) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self.broken_off: list[str] = []
        """Tests, or whole programs, that ended without a result."""
        self.seconds: dict[str, float] = {}
        """How long each test took that passed."""
        self._on_failure = on_failure
        self._rest = ""
        self._test: str | None = None
        self._test_begun = 0.0
        self._in_a_program = False
        self._before = (0, 0)

    def feed(self, data: bytes) -> None:
        """Take the next piece of output, cut anywhere."""
        # A character that is cut in two is in no line that matters here.
        text = self._rest + COLOURS.sub("", data.decode(errors="replace"))
        *lines, self._rest = text.split("\n")
        for line in lines:
            self._line(line)
        self._after_name(self._rest)

    def end(self) -> None:
        """No more output: a program that has not summed up has died."""
        if self._in_a_program:
            self.broken_off.append(self._test or "a test program")
        self._in_a_program, self._test = False, None

    def _line(self, line: str) -> None:
        if BEGIN.fullmatch(line):
            self.end()
            self._in_a_program, self._before = True, (self.passed, len(self.failed))
        elif counts := END.match(line):
            self._sum_up(int(counts[1]), int(counts[2]))
        else:
            self._result(self._after_name(line).strip())

    def _after_name(self, line: str) -> str:
        """What follows the name, if a test begins in this line; it does not begin twice."""
        test = TEST.match(line)
        if not test:
            return line
        if self._test != test[1]:
            self._test, self._test_begun = test[1], time.monotonic()
        return line[test.end() :]

    def _result(self, result: str) -> None:
        name = self._test
        if name is None:
            return
        if result == "ok":
            self.passed += 1
            self.seconds[name] = time.monotonic() - self._test_begun
        elif result == "FAILED":
            self.failed.append(name)
            self._on_failure(name)
        elif not result.startswith("ignored"):
            return  # something that the test itself has printed
        self._test = None

    def _sum_up(self, passed: int, failed: int) -> None:
        """The program's own counts: a result in the middle of a line of output was not noticed."""
        passed_before, failed_before = self._before
        self.passed = passed_before + passed
        unnoticed = failed_before + failed - len(self.failed)
        self.failed += ["a test whose result is in the middle of a line"] * unnoticed
        self._in_a_program, self._test = False, None
