"""`python cut_off.py PATTERN COUNT DELAY SIGNAL COMMAND ...`: biosae, which gets the signal when it renames a file.

It comes DELAY seconds after the COUNT-th name that matches the pattern (as in ``fnmatch``) is about to be given to what
was written under a temporary name, so that it does not depend on how long the command takes to get there.
"""

import fnmatch
import os
import sys
import threading

from biosae.__main__ import main

pattern, count, delay, number = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])


def watch(event, details):
    global count
    if event == "os.rename" and fnmatch.fnmatch(os.fspath(details[1]), pattern):
        count -= 1
        if count == 0 and delay == 0:
            os.kill(os.getpid(), number)
        elif count == 0:
            threading.Timer(delay, os.kill, (os.getpid(), number)).start()


sys.addaudithook(watch)
sys.argv = ["biosae", *sys.argv[5:]]
main()
