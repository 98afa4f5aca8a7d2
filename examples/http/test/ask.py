#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""ask.py - a client that may misbehave, for http.sh.

    ask.py ask PORT TEXT...       sends each TEXT (with escapes) in a segment of its own, and
                                  no more: prints the status of each answer and its
                                  Connection field, until the server closes
    ask.py hold PORT TEXT...      the same, but the client does not say that it will send no more,
                                  and the TEXTs are sent at half a second's distance
    ask.py crowd PORT N           opens N connections before it reads the answers to one request
                                  on each: prints how many were 200
    ask.py reset PORT N           asks for a report N times and resets the connection at once
    ask.py get PORT PATH          prints the answer's text
    ask.py deaf PORT              sends requests without ever reading an answer, until the server
                                  hangs up or takes no more
"""

import re
import socket
import struct
import sys
import time

HELLO = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_all(connection):
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    return answer


def answers(data):
    found = []
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.1 (\d{3}) [A-Z][A-Za-z ]+\r\n", head)
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        kept = re.search(rb"\r\nConnection: (close|keep-alive)", head)
        if not (separator and status and length and kept) or len(rest) < int(length[1]):
            return found + ["GARBAGE"]
        found += [status[1].decode(), kept[1].decode()]
        data = rest[int(length[1]):]
    return found


def ask(port, texts, hold):
    connection = connect(port)
    try:
        for text in texts:
            connection.sendall(text.encode().decode("unicode_escape").encode("latin-1"))
            time.sleep(0.5 if hold else 0.02)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it hung up in the middle, perhaps with an answer
    if not hold:
        connection.shutdown(socket.SHUT_WR)
    print(*answers(read_all(connection)))


def crowd(port, count):
    connections = []
    for _ in range(count):
        connections.append(connect(port))
        connections[-1].sendall(HELLO)
    good = 0
    for connection in connections:
        good += connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.close()
    print(good)


def reset(port, count):
    for _ in range(count):
        connection = connect(port)
        connection.sendall(b"GET /report HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def get(port, path):
    connection = connect(port)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    print(read_all(connection).partition(b"\r\n\r\n")[2].decode(), end="")


def deaf(port):
    connection = connect(port)
    connection.settimeout(1)
    try:
        for _ in range(100000):
            connection.sendall(HELLO * 100)
        print("it took all")
    except (BrokenPipeError, ConnectionResetError):
        print("hung up")
    except TimeoutError:
        print("took no more")


what, port = sys.argv[1], int(sys.argv[2])
if what in ("ask", "hold"):
    ask(port, sys.argv[3:], what == "hold")
elif what == "get":
    get(port, sys.argv[3])
elif what == "deaf":
    deaf(port)
else:
    {"crowd": crowd, "reset": reset}[what](port, int(sys.argv[3]))
