"""The outside: a service that tells callers their address, and a name server that knows one answer.

    outside.py PORT

Says `born`, waits for a line with its addresses, takes the link `down0`, and says `ready`.
"""

import socket
import struct
import subprocess
import sys
import threading


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def serve(port):
    server = socket.create_server(("0.0.0.0", port))
    while True:
        caller, (address, _) = server.accept()
        with caller:
            caller.sendall(address.encode())


def answer(query, address):
    """Every name has this one address; other kinds of records are not there."""
    question_end = query.index(b"\0", 12) + 5
    kind = struct.unpack("!H", query[question_end - 4:question_end - 2])[0]
    has = kind == 1
    head = query[:2] + struct.pack("!5H", 0x8180, 1, int(has), 0, 0)
    record = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
    return head + query[12:question_end] + (record if has else b"")


def serve_names(own, address):
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind((own, 53))
    while True:
        query, caller = door.recvfrom(1500)
        door.sendto(answer(query, address), caller)


def main():
    print("born", flush=True)
    addresses = sys.stdin.readline().split()
    ip("link", "set", "lo", "up")
    ip("addr", "add", addresses[0], "dev", "down0")
    ip("link", "set", "down0", "up")
    for address in addresses[1:]:
        ip("addr", "add", address, "dev", "lo")
    first = addresses[0].split("/")[0]
    threading.Thread(target=serve, args=(int(sys.argv[1]),), daemon=True).start()
    for address in addresses:
        own = address.split("/")[0]
        threading.Thread(target=serve_names, args=(own, first), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


main()
