"""Which commands are measured, on what data.

`redis-benchmark` replaces each `__rand_int__` by twelve digits of a number below the keyspace. Elements are named alike
when the data is loaded, so what a command asks for is there. Commands leave the data as large as they found it, except
where it says that it grows.
"""
import dataclasses
import math
import random
import typing

RANDOM = "__rand_int__"
ELEMENT = f"element:{RANDOM}"
# Elements that one command loads.
BATCH = 1_000
# What grows has so many elements at the end.
SMALL = 10
# Readers of a stream: each gets what no other one takes away from it.
GROUPS = 1_000


@dataclasses.dataclass(frozen=True)
class Case:
    """A command as it is sent, and how the tables call it."""

    label: str
    command: str
    # 1 where a reply has thousands of elements.
    pipeline: int = 16

    def words(self, number=0):
        """The command for one of the numbers that it is sent with."""
        return self.command.replace(RANDOM, digits(number).decode()).split()


@dataclasses.dataclass(frozen=True)
class Data:
    """What is there, and the commands that are measured on it, in this order."""

    size: str
    cases: list
    # Gives the commands that write it.
    load: typing.Callable = lambda: ()
    keyspace: int = 1
    # Starts from nothing for each measurement, with a tenth as many keys as there are requests.
    grows: bool = False


def digits(number):
    return b"%012d" % number


def element(number):
    return b"element:" + digits(number)


def scattered(number, count):
    """Each of 0..count once, in no order, for a count that is a power of ten."""
    return number * 7_919 % count


def batches(head, count, words):
    """Commands that begin with `head` and have the words of so many elements."""
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        yield [*head, *(word for number in numbers for word in words(number))]


def growing(*cases):
    return Data(f"grows to {SMALL}", [Case(*case) for case in cases], grows=True)


def strings(share):
    keys, value = 1_000_000 // share, "v" * 16
    yield Data(f"16 B, {keys:,} keys", [
        Case("GET", f"GET key:{RANDOM}"),
        Case("MGET, 10 keys", "MGET" + f" key:{RANDOM}" * 10),
        Case("SET", f"SET key:{RANDOM} {value}"),
    ], lambda: batches(["MSET"], keys, lambda number: (b"key:" + digits(number), value)), keys)
    large, long = 1_000, "v" * 16_384
    yield Data(f"16 KiB, {large:,} keys", [
        Case("GET", f"GET key:{RANDOM}"),
        Case("SET", f"SET key:{RANDOM} {long}"),
    ], lambda: batches(["MSET"], large, lambda number: (b"key:" + digits(number), long)), large)
    yield Data(f"a number, {keys:,} keys", [
        Case("INCR", f"INCR key:{RANDOM}"),
    ], lambda: batches(["MSET"], keys, lambda number: (b"key:" + digits(number), number)), keys)


def lists(share):
    def load(size):
        return lambda: batches(["RPUSH", "list"], size, lambda number: (element(number),))

    yield growing(("LPUSH", f"LPUSH list:{RANDOM} {ELEMENT}"))
    yield Data(f"{SMALL}", [
        Case("LRANGE 0 9", "LRANGE list 0 9"),
        Case("LRANGE, 3 in the middle", "LRANGE list 4 6"),
    ], load(SMALL))
    size = 100_000 // share
    yield Data(f"{size:,}", [
        Case("LRANGE 0 9", "LRANGE list 0 9"),
        Case("LRANGE 0 99", "LRANGE list 0 99"),
        Case("LRANGE, 100 in the middle", f"LRANGE list {size // 2} {size // 2 + 99}"),
    ], load(size))
    yield Data(f"{size:,} and growing", [Case("LPUSH", f"LPUSH list {ELEMENT}")], load(size), size)


def hashes(share):
    yield growing(("HSET, a new field", f"HSET hash:{RANDOM} {ELEMENT} value"))
    for size, pipeline in ((SMALL, 16), (10_000 // share, 1)):
        yield Data(f"{size:,}", [
            Case("HGET", f"HGET hash {ELEMENT}"),
            Case("HGETALL", "HGETALL hash", pipeline),
            Case("HSET, a field that is there", f"HSET hash {ELEMENT} other"),
        ], lambda size=size: batches(["HSET", "hash"], size, lambda number: (element(number), "value")), size)


def sets(share):
    def load(size):
        # Half of each is in the other.
        yield from batches(["SADD", "set"], size, lambda number: (element(number),))
        yield from batches(["SADD", "other"], size, lambda number: (element(number + size // 2),))

    yield growing(("SADD, a new member", f"SADD set:{RANDOM} {ELEMENT}"))
    for size, pipeline in ((SMALL, 16), (10_000 // share, 1)):
        yield Data(f"{size:,}", [
            Case("SISMEMBER", f"SISMEMBER set {ELEMENT}"),
            Case("SINTER, two sets", "SINTER set other", pipeline),
            Case("SADD, a member that is there", f"SADD set {ELEMENT}"),
        ], lambda size=size: load(size), size)


def zsets(share):
    def load(size):
        return batches(["ZADD", "zset"], size, lambda number: (scattered(number, size), element(number)))

    yield growing(("ZADD, a new member", f"ZADD zset:{RANDOM} {RANDOM} {ELEMENT}"))
    for size in (SMALL, 1_000_000 // share):
        middle = size // 2
        yield Data(f"{size:,}", [
            Case("ZRANK", f"ZRANK zset {ELEMENT}"),
            Case("ZRANGE 0 9", "ZRANGE zset 0 9"),
            Case("ZRANGE, up to 10 in the middle", f"ZRANGE zset {middle} {middle + 9}"),
            Case("ZRANGEBYSCORE, up to 10 from a score", f"ZRANGEBYSCORE zset {RANDOM} +inf LIMIT 0 10"),
            Case("ZADD, another score", f"ZADD zset {RANDOM} {ELEMENT}"),
        ], lambda size=size: load(size), size)


def streams(share):
    def load(size):
        for number in range(size):
            yield ["XADD", "stream", f"{number + 1}-0", "field", element(number)]
        yield ["XGROUP", "CREATE", "stream", "group", "0"]
        yield ["XREADGROUP", "GROUP", "group", "reader", "COUNT", SMALL, "STREAMS", "stream", ">"]
        for number in range(GROUPS):
            yield ["XGROUP", "CREATE", "stream", b"group:" + digits(number), "0"]

    pending = Case("XREADGROUP, 10 pending", "XREADGROUP GROUP group reader COUNT 10 STREAMS stream 0")
    yield growing(("XADD", f"XADD stream:{RANDOM} * field {ELEMENT}"))
    yield Data(f"{SMALL}", [Case("XRANGE - +", "XRANGE stream - +"), pending], lambda: load(SMALL))
    size = 100_000 // share
    new = f"XREADGROUP GROUP group:{RANDOM} reader COUNT 10 NOACK STREAMS stream >"
    yield Data(f"{size:,}", [
        Case("XRANGE, 10 at the start", "XRANGE stream - + COUNT 10"),
        Case("XRANGE, 10 in the middle", f"XRANGE stream {size // 2} + COUNT 10"),
        pending,
        Case("XREADGROUP NOACK, 10 new", new),
        Case("XADD MAXLEN ~", f"XADD stream MAXLEN ~ {size} * field {ELEMENT}"),
    ], lambda: load(size), GROUPS)


def hyperloglogs(share):
    def load(size):
        yield from batches(["PFADD", "hll"], size, lambda number: (element(number),))
        yield from batches(["PFADD", "other"], size, lambda number: (element(number + size),))

    yield growing(("PFADD, a new element", f"PFADD hll:{RANDOM} {ELEMENT}"))
    for form, size in (("sparse", 100), ("dense", 100_000 // share)):
        yield Data(f"{form}, {size:,}", [
            Case("PFCOUNT", "PFCOUNT hll"),
            Case("PFCOUNT, two keys", "PFCOUNT hll other"),
            Case("PFADD, an element that is there", f"PFADD hll {ELEMENT}"),
        ], lambda size=size: load(size), size)


def geo(share):
    def load(size):
        # Ten degrees by ten, with as many steps of each as redis-benchmark has numbers.
        draw = random.Random(size)
        return batches(["GEOADD", "geo"], size, lambda number: (
            f"{draw.randrange(size) * 10 / size:.6f}", f"{draw.randrange(size) * 10 / size:.6f}", element(number)))

    for size in (100, 100_000 // share):
        place = f"{RANDOM}e-{len(str(size)) - 2}"
        # About thirty points are so near, however many there are.
        radius = round(3_450 / math.sqrt(size))
        yield Data(f"{size:,}", [
            Case("GEOSEARCH, 10 nearest", f"GEOSEARCH geo FROMLONLAT 5 5 BYRADIUS {radius} km ASC COUNT 10"),
            Case("GEOADD, another place", f"GEOADD geo {place} {place} {ELEMENT}"),
        ], lambda size=size: load(size), size)


def bitmaps(_share):
    for label, size in (("16 B", 16), ("1 MiB", 1 << 20)):
        bits = random.Random(size).randbytes(size)
        yield Data(label, [
            Case("BITCOUNT", "BITCOUNT bits"),
            # Numbers with leading zeros are no offsets, so it is always the same bit.
            Case("SETBIT, in the middle", f"SETBIT bits {size * 4} 1"),
        ], lambda bits=bits: [["SET", "bits", bits]])


def sort(share):
    def load(size):
        yield from batches(["RPUSH", "numbers"], size, lambda number: (scattered(number, size),))
        yield from batches(["RPUSH", "words"], size, lambda number: (element(scattered(number, size)),))

    for size, pipeline in ((SMALL, 16), (10_000 // share, 1)):
        yield Data(f"{size:,}", [
            Case("SORT", "SORT numbers", pipeline),
            Case("SORT LIMIT 0 10", "SORT numbers LIMIT 0 10", pipeline),
            Case("SORT ALPHA", "SORT words ALPHA", pipeline),
        ], lambda size=size: load(size))


# Each gives its data, with large sizes divided by what it is called with.
FAMILIES = {"string": strings, "list": lists, "hash": hashes, "set": sets, "zset": zsets, "stream": streams,
            "hyperloglog": hyperloglogs, "geo": geo, "bitmap": bitmaps, "sort": sort}
