"""Brings the SDK's own tests from Python 2 to Python 3, mechanically.

Each rule changes the language, none what is tested. A rule that finds nothing in a file where it is
expected is an error: then the source is not the one these rules were written for.
"""

import os
import re

RULES = {
    "config.py": [
        (r"\bConfigParser\.RawConfigParser\b", "configparser.RawConfigParser"),
        (r"^import ConfigParser$", "import configparser"),
        # A text file, which the Python 2 module wrote as bytes.
        (r"'wb'", "'w'"),
        # Prints the secret key, too; a test's log is no place for it.
        (r"^print .*$", ""),
    ],
    "test_client.py": [
        (r"^(\s*)print (\w.*?)\s*$", r"\1print(\2)"),
        (r"\btimeout/interval\b", "timeout//interval"),
    ],
}


def convert(source, target):
    """Writes the tests in `source` (the folder `tests/client`) to `target` for Python 3."""
    for name, rules in RULES.items():
        with open(os.path.join(source, name)) as file:
            text = file.read()
        for pattern, replacement in rules:
            text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
            if not count:
                raise SystemExit(f"{name}: nothing matches {pattern!r}; is this the SDK's version 2.1.7?")
        with open(os.path.join(target, name), "w") as file:
            file.write(text)
