#!/usr/bin/env python3
"""Runs the Eclipse Paho interoperability suites against a broker, each test in a process of its own.

    run.py CHECKOUT --target NAME=HOST:PORT[,USER[,PASSWORD]]... [--expected FILE]

CHECKOUT is a checkout of github.com/eclipse/paho.mqtt.testing; nothing of it is changed. Targets are run at the same
time, the tests of a target one after the other (they share client ids and topics). A target with a user name has it put
into every CONNECT, which the suites themselves cannot do.

A failed test is tried again (--tries), for tests that only a slow machine fails. Ends with 0 when every failure stands
in the expected list, with 1 otherwise, with 2 when the suites could not be run.
"""
import argparse
import ast
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

SUITES = {
    "3.1.1": ("client_test.py", "mqtt.clients.V311"),
    "5": ("client_test5.py", "mqtt.clients.V5"),
}
# Written for the suite, but not named so that unittest would find it.
EXTRA_TESTS = {"3.1.1": ["will_message_test"], "5": []}
TOPICS = ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")
WILDCARDS = ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")
CHILD = "OPENFLOW_INTEROP_CHILD"


def tests_of(checkout, suite):
    """Names of a suite's tests, in the file's order, without running any of its code."""
    file = checkout / "interoperability" / SUITES[suite][0]
    names = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "Test":
            methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
            names = [n for n in methods if n.startswith("test") or n in EXTRA_TESTS[suite]]
    if not names:
        raise SystemExit(f"error: no tests in {file}")
    return names


def with_credentials(client_class, username, password):
    """Makes every CONNECT of the suite's own client carry the credentials."""
    original = client_class.connect

    def connect(self, *args, **kwargs):
        kwargs.setdefault("username", username)
        kwargs.setdefault("password", password.encode())
        return original(self, *args, **kwargs)

    client_class.connect = connect


def child():
    """One test, in this process: what it is comes by the environment, so that no password stands in a command line."""
    import importlib
    import unittest

    task = json.loads(os.environ[CHILD])
    sys.path.insert(0, os.path.join(task["checkout"], "interoperability"))
    module_file, client_module = SUITES[task["suite"]]
    if task["username"]:
        with_credentials(importlib.import_module(client_module).Client, task["username"], task["password"])
    module = importlib.import_module(module_file.removesuffix(".py"))
    # What the suite sets when it is started as a program.
    module.host, module.port = task["host"], task["port"]
    module.topics, module.wildtopics = TOPICS, WILDCARDS
    module.nosubscribe_topics = ("test/nosubscribe",)
    module.topic_prefix = "client_test5/"
    suite = unittest.TestSuite([module.Test(task["test"])])
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(suite)
    # Receiver threads of the suite may still sit in a read: leave without them.
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(0 if result.wasSuccessful() else 1)


class Target:
    """A broker as a client sees it: address and, for a tenant, its credentials."""

    def __init__(self, text):
        match = re.fullmatch(r"([a-z0-9-]+)=([^:,]+):(\d+)(?:,([^,]+)(?:,(.+))?)?", text)
        if not match:
            raise SystemExit(f"error: not a target: {text}")
        self.name, self.host, port, self.username, password = match.groups()
        self.port = int(port)
        self.password = password or ""


def run_test(options, target, suite, test):
    """One try. Returns (verdict, last line that tells why, output)."""
    task = {
        "checkout": str(options.checkout), "suite": suite, "test": test, "host": target.host, "port": target.port,
        "username": target.username, "password": target.password,
    }
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **{CHILD: json.dumps(task)})
    try:
        done = subprocess.run(
            [sys.executable, __file__], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=options.limit, check=False)
    except subprocess.TimeoutExpired as late:
        return "hangs", f"not finished after {options.limit} s", (late.stdout or b"").decode(errors="replace")
    output = done.stdout.decode(errors="replace")
    if done.returncode == 0:
        return "ok", "", output
    reasons = re.findall(r"^(\w*(?:Error|Exception|timeout)\b.*)$", output, re.MULTILINE)
    # The suites end a failed test with "False != True"; what was before it says more.
    telling = [r for r in reasons if "False != True" not in r]
    return "FAILS", (telling or reasons or ["no reason given"])[-1], output


def run_target(options, target, plan, results):
    """All tests on one target; what was found goes into `results`, keyed (target, suite, test)."""
    for suite, test in plan:
        verdicts = []
        for attempt in range(options.tries):
            begun = time.monotonic()
            verdict, why, output = run_test(options, target, suite, test)
            verdicts.append(verdict)
            if options.logs:
                name = f"{target.name}.{suite}.{test}.{attempt + 1}.log"
                (options.logs / name).write_text(output, encoding="utf-8")
            print(f"{target.name:14} {suite:6} {test:30} {verdict:6} {time.monotonic() - begun:5.1f} s  {why[:160]}",
                  file=sys.stderr, flush=True)
            if verdict in ("ok", "hangs") or (suite, test, target.name) in options.known:
                break
        last = verdicts[-1]
        results[(target.name, suite, test)] = "flaky" if last == "ok" and len(verdicts) > 1 else last


def read_expected(path):
    """Lines `SUITE TEST TARGET[,TARGET] REASON`; `*` is every target. Returns {(suite, test, target or *): reason}."""
    known = {}
    if path:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            fields = line.split(None, 3)
            if len(fields) != 4:
                raise SystemExit(f"error: {path}:{number}: expected SUITE TEST TARGETS REASON")
            for target in fields[2].split(","):
                known[(fields[0], fields[1], target)] = fields[3]
    return known


def report(options, plan, results):
    """Prints the table. Returns the failures that nobody expected."""
    names = [target.name for target in options.targets]
    print("| suite | test | " + " | ".join(names) + " |")
    print("| --- | --- |" + " --- |" * len(names))
    new, passing = [], []
    for suite, test in plan:
        cells = []
        for name in names:
            verdict = results.get((name, suite, test), "not run")
            reason = options.known.get((suite, test, name))
            if verdict not in ("ok", "flaky") and reason is None:
                new.append((name, suite, test, verdict))
            if verdict == "ok" and reason is not None:
                passing.append((name, suite, test))
            cells.append(verdict + (" (expected)" if reason and verdict != "ok" else ""))
        print(f"| {suite} | {test} | " + " | ".join(cells) + " |")
    print()
    for name in names:
        ours = [results.get((name, suite, test)) for suite, test in plan]
        print(f"{name}: {sum(v in ('ok', 'flaky') for v in ours)} of {len(ours)} pass")
    for name, suite, test in passing:
        print(f"passes although a failure is expected: {name} {suite} {test}")
    for name, suite, test, verdict in new:
        print(f"NEW FAILURE: {name} {suite} {test} {verdict}")
    return new


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=pathlib.Path, help="checkout of github.com/eclipse/paho.mqtt.testing")
    parser.add_argument("--target", dest="targets", type=Target, action="append", required=True,
                        help="NAME=HOST:PORT[,USER[,PASSWORD]]")
    parser.add_argument("--suite", choices=SUITES, action="append", help="only this one")
    parser.add_argument("--only", action="append", help="only this test")
    parser.add_argument("--expected", type=pathlib.Path, help="failures that are known")
    parser.add_argument("--limit", type=int, default=45, help="seconds for one test")
    parser.add_argument("--tries", type=int, default=4, help="how often a test may fail before it is a failure")
    parser.add_argument("--logs", type=pathlib.Path, help="folder for the output of each test")
    options = parser.parse_args()
    if options.logs:
        options.logs.mkdir(parents=True, exist_ok=True)
    every = read_expected(options.expected)
    options.known = {}
    for (suite, test, where), reason in every.items():
        for target in options.targets:
            if where in ("*", target.name):
                options.known[(suite, test, target.name)] = reason
    return options


def main():
    options = arguments()
    plan = [(suite, test) for suite in options.suite or SUITES for test in tests_of(options.checkout, suite)
            if not options.only or test in options.only]
    results = {}
    lanes = [threading.Thread(target=run_target, args=(options, target, plan, results)) for target in options.targets]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    sys.exit(1 if report(options, plan, results) else 0)


if __name__ == "__main__":
    if CHILD in os.environ:
        child()
    else:
        main()
