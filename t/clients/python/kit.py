"""The program's side of Program.pm: test points, and questions to the test."""

import json
import os
import sys
import traceback

GATEWAY = os.environ["LLM_GATEWAY"]
SLOW = float(os.environ.get("LLM_SLOW") or 1)

points = 0


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def ok(good, name, *why):
    global points
    points += 1
    say(("ok - " if good else "not ok - ") + name)
    if not good:
        for text in why:
            for line in str(text).splitlines():
                say("# " + line[:1000])
    return good


def same(got, want, name):
    return ok(got == want, name, f"got:  {got!r}", f"want: {want!r}")


def raises(kind, call, name):
    """The exception, which is of just this class; the point is made here."""
    try:
        got = call()
    except Exception as e:
        ok(type(e) is kind, name, f"{type(e).__name__}: {e}")
        return e
    ok(False, name, f"no exception, but {got!r}")
    return None


def ask(word, *args):
    say(" ".join(["?", word, *map(str, args)]))
    answer = json.loads(sys.stdin.readline())
    if isinstance(answer, dict) and "failed" in answer:
        raise RuntimeError(answer["failed"])
    return answer


def run(*tests):
    """Each test; what one of them dies of is a failed point."""
    for test in tests:
        try:
            test()
        except Exception:
            ok(False, test.__name__ + " came to its end",
               traceback.format_exc())
    say(f"done {points}")
