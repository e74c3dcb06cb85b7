#!/usr/bin/env python3
"""What is shipped has no planted bug in it: no library or program of the build names PLANTED_BUG; those of build/mutants do.

shipped_test.py BUILD_FOLDER
"""

import pathlib
import sys

MARK = b"PLANTED_BUG"


def main():
    build = pathlib.Path(sys.argv[1])
    shipped = [*build.glob("lib/*"), *build.glob("libdsm/**/*.a"), *build.glob("hints/*.a"), *build.glob("placed/*.a"),
               *build.glob("bin/*")]
    shipped = [file for file in shipped if file.is_file()]
    tainted = [file for file in shipped if MARK in file.read_bytes()]
    planted = [file for file in build.glob("mutants/bin/*") if MARK in file.read_bytes()]
    for file in tainted:
        print(f"{file} names {MARK.decode()}")
    print(f"{len(shipped)} shipped files, {len(tainted)} with planted bugs; {len(planted)} test programs with planted bugs")
    return 1 if tainted or not shipped or not planted else 0


if __name__ == "__main__":
    sys.exit(main())
