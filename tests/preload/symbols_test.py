#!/usr/bin/env python3
"""Checks that libdsm_preload.so defines what exports.map lists, and nothing else: symbols_test.py NM LIBRARY MAP."""

import re
import subprocess
import sys


def main():
    nm, library, exports = sys.argv[1:]
    with open(exports, encoding="utf-8") as file:
        text = re.sub(r"#.*", "", file.read())
    wanted = set(re.findall(r"\w+(?=;)", text.split("global:")[1].split("local:")[0]))
    lines = subprocess.run([nm, "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    shown = {line.split()[-1] for line in lines.splitlines()}
    for name in sorted(shown - wanted):
        print(f"shown, but not meant to be: {name}")
    for name in sorted(wanted - shown):
        print(f"not shown: {name}")
    # What it needs comes into the program in front of the program's own libraries, as far as these lack it.
    dump = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    needed = set(re.findall(r"NEEDED.*\[(.*?)\]", dump))
    allowed = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"}
    for name in sorted(needed - allowed):
        print(f"needs {name}")
    print(f"{len(shown)} symbols")
    return 0 if shown == wanted and needed <= allowed and len(wanted) > 30 else 1


if __name__ == "__main__":
    sys.exit(main())
