"""What a launcher starts in place of `python ARGUMENTS`: asks a warm Python (python.py) for a fork that is the rank.

Passes signals on to the rank, and ends as the rank does.

rank.py FOLDER_OF_SOCKETS NUMBER_OF_SOCKETS ARGUMENTS...
"""

import json
import os
import signal
import socket
import sys

folder, n_sockets, *arguments = sys.argv[1:]
names = ("OMPI_COMM_WORLD_LOCAL_RANK", "HOROVOD_LOCAL_RANK", "LOCAL_RANK")
local_rank = next((os.environ[name] for name in names if name in os.environ), "0")
connection = socket.socket(socket.AF_UNIX)
connection.connect(f"{folder}/{int(local_rank) % int(n_sockets)}")
folder_now = os.getcwd()  # noqa: PTH109 (pathlib's import takes longer than all the rest)
text = json.dumps({"arguments": arguments, "folder": folder_now, "environment": dict(os.environ)}).encode()
signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
for number in signals:
    signal.signal(number, lambda number, _: connection.send(bytes([number])))
socket.send_fds(connection, [len(text).to_bytes(8, "big")], [0, 1, 2])
connection.sendall(text)
answer = connection.recv(2)
if not answer:
    sys.exit("rank.py: the warm Python is gone")
code = os.waitstatus_to_exitcode(int.from_bytes(answer, "big"))
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code in signals else None
    os.kill(os.getpid(), -code)
sys.exit(code)
