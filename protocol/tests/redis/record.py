#!/usr/bin/env python3
"""Records what a redis-server says to odd requests, numbers and globs.

usage: redis-server --port 7999 --save '' --appendonly no &
       record.py 7999

Writes the tables beside this script that tests/redis.rs holds the crate to. A row is fields separated by tabs, bytes
outside printable ASCII and backslashes as \\xHH. The random rows come from a fixed seed. The server's data is lost.
"""

import pathlib
import random
import socket
import struct
import sys

PORT = int(sys.argv[1])
HERE = pathlib.Path(__file__).parent
PASSWORD = b"secret"
ERROR = "error"


def escape(data):
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02x}" for b in data)


def write(name, rows):
    (HERE / name).write_text("".join("\t".join(row) + "\n" for row in rows))
    print(name, len(rows))


def encode(*args):
    args = [a.encode() if isinstance(a, str) else a for a in args]
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args)


class Client:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT))
        self.file = self.socket.makefile("rb")

    def pipeline(self, commands):
        """Replies in order: text lines as bytes, arrays as lists, errors as ERROR."""
        replies = []
        for at in range(0, len(commands), 500):
            part = commands[at : at + 500]
            self.socket.sendall(b"".join(part))
            replies += [self.read() for _ in part]
        return replies

    def call(self, *args):
        return self.pipeline([encode(*args)])[0]

    def read(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            return ERROR
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        if kind == b"%":
            return [self.read() for _ in range(2 * int(rest))]
        return rest


def raw(data):
    """All that the server answers to `data` until it closes or falls silent."""
    with socket.create_connection(("127.0.0.1", PORT)) as sock:
        sock.sendall(data)
        sock.settimeout(0.06)
        answer = b""
        try:
            while part := sock.recv(65536):
                answer += part
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


PING = encode("PING")
LONG = 65536
REQUESTS = [
    # Framing that is accepted although it is odd.
    PING, b"PING\r\n", b"PING\n", b"\r\n\r\n\nPING\r\n", b"*0\r\n" + PING, b"*-1\r\n" + PING, b"*-2\r\n" + PING,
    b"*-9223372036854775808\r\n" + PING, b"*1\rX$4\rYPINGZZ" + PING, b"*1\r\r$4\r\rPING\r\r" + PING,
    b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", b"*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n", b"   \t \r\n" + PING, b" PING \r\n",
    b"PING\r\r\n", b"PING \r\r\n", b"\x00PING\r\n", b"PI\x00NG\r\nPING\r\n", b"\x0b\x0cPING\r\n",
    # Counts.
    b"*\r\n" + PING, b"*+1\r\n$4\r\nPING\r\n", b"*01\r\n$4\r\nPING\r\n", b"*-0\r\n", b"*00\r\n", b"* 1\r\n", b"*1 \r\n",
    b"*a\r\n", b"*1a\r\n", b"*-\r\n", b"*--1\r\n", b"*1.0\r\n", b"*0x1\r\n", b"*\xff\r\n", b"*1\n$4\nPING\n\r\n",
    b"*2147483648\r\n", b"*9223372036854775807\r\n", b"*9223372036854775808\r\n", b"*-9223372036854775809\r\n",
    b"*99999999999999999999999\r\n", b"*1\x00\r\n", b"*\x001\r\n", b"*10\r\n", b"*11\r\n", b"*100\r\n",
    b"*" + b"1" * (LONG - 1) + b"\r\n", b"*" + b"1" * (LONG - 2), b"*" + b"1" * (LONG + 100),
    # Lengths.
    b"*1\r\n$\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$-0\r\n", b"*1\r\n$+4\r\nPING\r\n", b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$4a\r\n",
    b"*1\r\n$ 4\r\n", b"*1\r\n$4 \r\n", b"*1\r\n$536870912\r\n", b"*1\r\n$536870913\r\n", b"*1\r\n$9223372036854775807\r\n",
    b"*1\r\n$9223372036854775808\r\n", b"*1\r\n$16384\r\n", b"*1\r\n$16385\r\n", b"*1\r\n$" + b"1" * (LONG + 100),
    b"*1\r\n$4\x00\r\nPING\r\n", b"*1\r\n$1000000000\r\n", b"*1\r\n$999999999\r\n", b"*1\r\n$0000000004\r\nPING\r\n",
    # Not a bulk string.
    b"*1\r\nPING\r\n", b"*1\r\n\r\n", b"*1\r\n\n\r\n", b"*1\r\n:1\r\n", b"*1\r\n*1\r\n", b"*1\r\n\xff\r\n", b"*1\r\n'\r\n",
    b"*1\r\n\x01\r\n", b"*1\r\n\\\r\n", b"*1\r\nx", b"*1\r\n\x00\r\n", b"*1\r\n" + b"x" * (LONG + 100),
    b"*2\r\n$4\r\nECHO\r\n$1\r\nabc\r\n", b"*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n" + PING, PING + b"*1\r\n$4\r\nPINGx\r\n*x\r\n",
    # Inline commands.
    b"ECHO \"a b\"\r\n", b"ECHO 'a b'\r\n", b"ECHO \"\\x41\\x4g\\n\\r\\t\\b\\a\\q\\\\\\\"\"\r\n", b"ECHO 'a\\'b\\n'\r\n",
    b"ECHO a\"b c\"\r\n", b"ECHO \"a\"b\r\n", b"ECHO 'a'b\r\n", b"ECHO \"a\r\n", b"ECHO 'a\r\n", b"ECHO \"\"\r\n", b"ECHO ''\r\n",
    b"ECHO \"a\\\r\n", b"ECHO a\x0bb\r\n", b"ECHO \x0ba\r\n", b"ECHO \"a\"\x0b\r\n", b"ECHO \"a\"\x0b \r\n", b"ECHO \xff\r\n",
    b"ECHO \"\\xfF\"\r\n", b"ECHO \\n\r\n", b"ECHO a\rb\r\n", b"ECHO 'a\rb'\r\n", b"ECHO a\r\r\n", b"\"ECHO\" a\r\n", b"\"\r\n",
    b"ECHO \"\\x4\"\r\n", b"ECHO \"\\x\"\r\n", b"ECHO a'b'\"c\"\r\n", b"ECHO $4\r\nPING\r\n\"\r\n", b"ECHO " + b"a" * 300 + b"\r\n",
    b"a" * (LONG + 100), b"\"" + b"a" * 100, PING + b"\"\r\n" + PING,
]


def requests(client):
    rows = []
    for auth in (False, True):
        if auth:
            client.call("CONFIG", "SET", "requirepass", PASSWORD)
        mode = "unauthenticated" if auth else "authenticated"
        rows += [(mode, escape(request), escape(raw(request))) for request in REQUESTS]
    client.call("AUTH", PASSWORD)
    client.call("CONFIG", "SET", "requirepass", "")
    write("requests.tsv", [(m, compress(i), compress(o)) for m, i, o in rows])


def compress(text):
    for letter in "1xa":
        for size in (LONG + 100, LONG - 1, LONG - 2):
            text = text.replace(letter * size, f"{{{letter}*{size}}}")
    return text


def random_double(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return struct.unpack("<d", rng.randbytes(8))[0]
    if kind == 1:
        return rng.randrange(-(10**6), 10**6) / 10 ** rng.randrange(8)
    if kind == 2:
        return float(rng.randrange(-(2**70), 2**70) >> rng.randrange(70))
    if kind == 3:
        return rng.uniform(-1, 1) * 10.0 ** rng.randrange(-12, 22)
    if kind == 4:
        return rng.randrange(2**53, 2**54) * 2.0 ** rng.randrange(0, 12)
    return rng.randrange(1, 2**20) * 2.0 ** -rng.randrange(0, 80)


SCORES = """0 -0 +0 0.0 -0.0 1 +1 -1 1. .5 -.5 . + - e5 1e 1e+ 1e5 1E5 1e+5 1e-5 1e05 1e-05 1e16 1e17 1e18 123456789012345678
12345678901234567 0.0001 0.00001 0.00012345 1e-4 1e-5 1e-6 9007199254740991 9007199254740992 9007199254740993 -9007199254740993
1e22 1e23 1e300 1e308 1.7976931348623157e308 1.7976931348623159e308 1e309 -1e309 1e400 5e-324 4.9e-324 2e-324 3e-324 1e-400 -1e-400
0e-400 0e400 0e99999999999999999999 1e99999999999999999999 1e-99999999999999999999 2.2250738585072014e-308 2.2250738585072011e-308
inf -inf +inf INF Inf infinity Infinity -INFINITY infin nan NaN -nan nan(1) NAN 0x 0x1 0X1 0x1p 0x1p4 0x1P+4 0x1p-4 -0x1p4 0x1.8
0x.8 0x.p1 0x. 0x1. 0xabcDEF 0xg 0x1p1024 0x1p1023 0x1.fffffffffffffp1023 0x1.fffffffffffff7p1023 0x1.fffffffffffff8p1023 0x1p-1074
0x1p-1075 0x1.8p-1075 0x1.000001p-1075 0x1p-1076 0x0p9999999999 0x1.00000000000008p0 0x1.00000000000008000000000000000000000000000001
0x1.00000000000018 0x20000000000001 0x20000000000003 0x100000000000000000000000000000000000000000000001 0x0.00000000000000000000000000000001
1_000 1,5 0b1 1e5.5 ++1 --1 +-1 1.5.5 1f 1d 3.14 2.5 1e1 100 1e2 12345.678 0.1 0.2 0.3 1.1 99999999999999999 100000000000000000
1152921504606846976 0.000099999999999999999 4.35 0.30000000000000004 1e15 1.5e16 123456.7e10 4503599627370497.5""".split()
SPACED = ["", " ", " 1", "1 ", "\t1", "1\n", "1\x00", "\x001", "1 1"]


def scores(client):
    rng = random.Random(7)
    client.call("CONFIG", "SET", "zset-max-listpack-entries", "0")
    texts = SCORES + SPACED + [repr(random_double(rng)) for _ in range(700)] + [random_double(rng).hex() for _ in range(100)]
    commands = [c for text in texts for c in (encode("DEL", "z"), encode("ZADD", "z", text, "m"), encode("ZSCORE", "z", "m"))]
    second = client.pipeline(commands)[2::3]
    client.call("HELLO", "3")
    third = client.pipeline(commands)[2::3]
    client.call("HELLO", "2")
    rows = []
    for text, old, new in zip(texts, second, third):
        old = ERROR if old is None else old.decode()
        new = ERROR if new == b"" else new.decode()
        assert old == new, (text, old, new)
        rows.append((escape(text.encode()), old))
    write("scores.tsv", rows)


SUMS = [
    ("3.0", "1.005"), ("3", "1.1"), ("0.1", "0.2"), ("10.50", "0.1"), ("5.0e3", "2.0e2"), ("1", "-1"), ("-0", "0"), ("-0", "-0"),
    ("0", "-0.0"), ("1e-17", "0"), ("4e-18", "0"), ("5e-18", "0"), ("5.1e-18", "0"), ("-4e-18", "0"), ("1.5e-17", "0"), ("2.5e-17", "0"),
    ("1e300", "1"), ("1e4900", "1"), ("1e4933", "0"), ("1.1897e4932", "1e4932"), ("-1e4932", "-1e4932"), ("1e-4950", "0"), ("1e-4960", "0"),
    ("9223372036854775807", "1"), ("-9223372036854775808", "-1"), ("18446744073709551615", "1"), ("18446744073709551616", "1"),
    ("18446744073709551616", "3"), ("36893488147419103232", "2"), ("36893488147419103232", "6"), ("1e30", "0.1"), ("inf", "1"), ("1", "inf"),
    ("1", "-inf"), ("1", "nan"), ("0x1p-3", "0x.8"), ("0x1.8p60", "0x1p-3"), ("0x1p16383", "0"), ("0x1p16384", "0"), ("0x1p-16445", "0"),
    ("0x1p-16446", "0"), ("9007199254740993", "0"), ("123456789.123456789", "987654321.987654321"), ("1e18", "1e-18"), ("1e19", "0.5"),
    ("0." + "3" * 300, "0." + "6" * 300), ("1" * 400, "-" + "1" * 399), ("0." + "0" * 400 + "1e400", "1"), ("1" + "0" * 400 + "e-400", "1"),
    ("1", " 1"), ("1", "1 "), ("1", ""), ("", "1"), ("x", "1"), ("1", "1e"), ("1", "+1"), ("+1", ".5"), ("1.", "1"),
]


def random_decimal(rng):
    digits = str(rng.randrange(10 ** rng.randrange(1, 25)))
    point = rng.randrange(len(digits) + 1)
    text = rng.choice(["", "-"]) + (digits[:point] or "0") + "." + (digits[point:] or "0")
    return text + rng.choice(["", "", "", f"e{rng.randrange(-25, 25)}"])


def sums(client):
    rng = random.Random(8)
    pairs = SUMS + [(random_decimal(rng), random_decimal(rng)) for _ in range(800)]
    pairs += [(random_double(rng).hex(), random_double(rng).hex()) for _ in range(20)]
    # Ties: a number and one half of its last place.
    for _ in range(100):
        exponent = rng.randrange(0, 90)
        mantissa = rng.randrange(2**63, 2**64)
        half = rng.choice(["", "-"]) + f"{rng.choice([1, 3, 5]) * 2**exponent}"
        pairs.append((str(mantissa << (exponent + 1)), half))
    commands = [c for a, b in pairs for c in (encode("SET", "f", a), encode("INCRBYFLOAT", "f", b))]
    answers = client.pipeline(commands)[1::2]
    rows = [(escape(a.encode()), escape(b.encode()), ERROR if r == ERROR else r.decode()) for (a, b), r in zip(pairs, answers)]
    write("sums.tsv", rows)


GLOBS = [
    ("*", "a"), ("**", "a"), ("", "a"), ("a", ""), ("**", ""), ("?", ""), ("", ""), ("a*", "a"), ("a**", "a"), ("a*b", "ab"), ("[", "["), ("[", "a"),
    ("[^", "a"), ("[a", "a"), ("[a", "b"), ("[]", "a"), ("[]", "]"), ("[^]", "a"), ("[]a]", "a]"), ("[a-", "a"), ("[a-", "-"), ("[a-]", "a"),
    ("[a-]", "]"), ("[c-a]", "b"), ("[\\]]", "]"), ("[\\", "\\"), ("\\", "\\"), ("\\\\", "\\"), ("\\*", "*"), ("\\*", "a"), ("a\\", "a\\"),
    ("[a-c]x", "bx"), ("[^a-c]x", "bx"), ("[\\a-c]", "b"), ("[--a]", "-"), ("h[ae]llo", "hello"), ("*[ab]*c?", "xxaxxcz"),
]
CASES = ["GET", "g?T", "[G]et", "[A-z]et", "[^G]et", "[\\G]et", "\\GET", "[S-A]ET", "*ET", "M[g-G]ET", "[M", "[^M]GET", "gEts[d-F]t", "***T"]


def globs(client):
    rng = random.Random(9)
    pairs = [(p.encode(), t.encode()) for p, t in GLOBS] + [(b"[a-\xff]", b"b"), (b"[a-\xff]", b"\x10"), (b"[\x80-\xff]", b"\x90"), (b"?", b"\xff")]
    pattern_bytes, text_bytes = b"aabbc**??[[]]^--\\\xc0", b"aabbc]-\\\xc0"
    for _ in range(1500):
        pairs.append((bytes(rng.choices(pattern_bytes, k=rng.randrange(1, 10))), bytes(rng.choices(text_bytes, k=rng.randrange(6)))))
    pairs = [(p, t) for p, t in pairs if p != b"*"]  # KEYS does not ask the matcher about `*`
    commands = [c for p, t in pairs for c in (encode("FLUSHALL"), encode("SET", t, "v"), encode("KEYS", p))]
    answers = client.pipeline(commands)[2::3]
    rows = [("sensitive", escape(p), escape(t), "yes" if found else "no") for (p, t), found in zip(pairs, answers)]
    names = ["get", "set", "getset", "mget"]
    patterns = CASES + ["".join(rng.choices("GgEeTtSsMm**??[[]]^-\\", k=rng.randrange(2, 8))) for _ in range(400)]
    for pattern in patterns:
        found = client.call("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern)
        rows += [("insensitive", escape(pattern.encode()), name, "yes" if name.encode() in found else "no") for name in names]
    write("globs.tsv", rows)


connection = Client()
requests(connection)
scores(connection)
sums(connection)
globs(connection)
